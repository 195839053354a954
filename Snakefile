# The experiment graph: a size file → run notebooks → records → chapters → the book.
#   snakemake --configfile notebooks/params/smoke.yaml --cores 2      (-n shows what would run)
# A record, written last by its notebook, is the only proof of success; the executed notebook is a log.
import sys

sys.path.insert(0, workflow.basedir + "/scripts")
import graph

graph.use_this_environment()
graph.refuse_unlike_looks([*workflow.configfiles, "_config.yml"])
SIZE = graph.size(config)
LIMIT = graph.limit(config)
RECORDS = graph.prepare_runs(config)
CHAPTERS = graph.prepare_chapters(SIZE)


rule all:
    input:
        f"_build/{SIZE}.json",


rule simulate:
    input:
        notebook="notebooks/theory/simulate.ipynb",
        parameters=f"runs/{SIZE}/theory/simulate/{{setting}}/parameters.yaml",
        code=graph.run_code(SIZE, RECORDS, "theory/simulate"),
    output:
        record=f"runs/{SIZE}/theory/simulate/{{setting}}/record.json",
    log:
        notebook=f"runs/{SIZE}/theory/simulate/{{setting}}/notebook.ipynb",
    resources:
        gpu=graph.gpus,
        cpus_per_task=graph.cpus,
    message:
        "run: theory/simulate, {wildcards.setting}"
    shell:
        graph.papermill(LIMIT)


rule pretrain:
    input:
        notebook="notebooks/imagenet/pretrain.ipynb",
        parameters=f"runs/{SIZE}/imagenet/pretrain/{{setting}}/parameters.yaml",
        code=graph.run_code(SIZE, RECORDS, "imagenet/pretrain"),
    output:
        record=f"runs/{SIZE}/imagenet/pretrain/{{setting}}/record.json",
    log:
        notebook=f"runs/{SIZE}/imagenet/pretrain/{{setting}}/notebook.ipynb",
    resources:
        gpu=graph.gpus,
        cpus_per_task=graph.cpus,
    message:
        "run: imagenet/pretrain, {wildcards.setting}"
    shell:
        graph.papermill(LIMIT)


rule finetune:
    input:
        notebook="notebooks/imagenet/finetune.ipynb",
        parameters=f"runs/{SIZE}/imagenet/finetune/{{setting}}/parameters.yaml",
        pretrained=graph.made_before(RECORDS, "imagenet/pretrain"),
        code=graph.run_code(SIZE, RECORDS, "imagenet/finetune"),
    output:
        record=f"runs/{SIZE}/imagenet/finetune/{{setting}}/record.json",
    log:
        notebook=f"runs/{SIZE}/imagenet/finetune/{{setting}}/notebook.ipynb",
    resources:
        gpu=graph.gpus,
        cpus_per_task=graph.cpus,
    message:
        "run: imagenet/finetune, {wildcards.setting}"
    shell:
        graph.papermill(LIMIT)


rule transfer:
    input:
        notebook="notebooks/inaturalist/transfer.ipynb",
        parameters=f"runs/{SIZE}/inaturalist/transfer/{{setting}}/parameters.yaml",
        code=graph.run_code(SIZE, RECORDS, "inaturalist/transfer"),
    output:
        record=f"runs/{SIZE}/inaturalist/transfer/{{setting}}/record.json",
    log:
        notebook=f"runs/{SIZE}/inaturalist/transfer/{{setting}}/notebook.ipynb",
    resources:
        gpu=graph.gpus,
        cpus_per_task=graph.cpus,
    message:
        "run: inaturalist/transfer, {wildcards.setting}"
    shell:
        graph.papermill(LIMIT)


rule chapter:
    input:
        notebook="notebooks/{chapter}.ipynb",
        parameters=f"runs/{SIZE}/chapters/{{chapter}}/parameters.yaml",
        reads=graph.reads(SIZE, RECORDS),
        code=graph.chapter_code,
    output:
        record=f"runs/{SIZE}/chapters/{{chapter}}/record.json",
    log:
        notebook=f"runs/{SIZE}/chapters/{{chapter}}/notebook.ipynb",
    message:
        "chapter: {wildcards.chapter}"
    shell:
        graph.papermill(LIMIT or graph.HOUR)


rule book:
    input:
        chapters=CHAPTERS,
        pages=graph.pages(),
    output:
        stamp=f"_build/{SIZE}.json",
    message:
        "book: Jupyter Book builds the pages"
    shell:
        "python scripts/book.py {SIZE}"
