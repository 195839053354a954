# The experiment graph: a size file → run notebooks → records → chapters → the book.
#   snakemake --configfile notebooks/params/smoke.yaml --cores 2      (-n shows what would run)
# A record, written last by its notebook, is the only proof of success; the executed notebook is a log.
import sys

sys.path.insert(0, workflow.basedir + "/scripts")
import graph

graph.use_this_environment()
graph.refuse_unlike_looks([*workflow.configfiles, "_config.yml"])
ASKED = graph.size(config, workflow.configfiles)
SIZE = ASKED.name
LIMIT = graph.limit(ASKED)
RECORDS = graph.prepare_runs(ASKED)
CHAPTERS = graph.prepare_chapters(SIZE)


rule all:
    input:
        f"_build/{SIZE}.json",


for run, before in graph.RUNS.items():

    rule:
        name:
            run.rpartition("/")[2]
        input:
            notebook=f"notebooks/{run}.ipynb",
            parameters=f"runs/{SIZE}/{run}/{{setting}}/parameters.yaml",
            before=graph.made_before(RECORDS, before),
            choosing=graph.choosing(SIZE, run),
            code=graph.run_code(SIZE, RECORDS, run),
        output:
            record=f"runs/{SIZE}/{run}/{{setting}}/record.json",
        log:
            notebook=f"runs/{SIZE}/{run}/{{setting}}/notebook.ipynb",
        resources:
            gpu=graph.gpus,
            cpus_per_task=graph.cpus,
        message:
            f"run: {run}, {{wildcards.setting}}"
        shell:
            graph.on_its_own(LIMIT)


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
