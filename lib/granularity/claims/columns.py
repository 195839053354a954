"""What records of each kind say, as far as rules read them: arguments and metrics by name.

Typed here so that a rule is checked as it is read, without loading what makes the runs.
"""

TRAINED = "seed dataset held_out labels pretraining finetuning classes target_classes"
TRAINED += " error balanced_error top5_error loss training_error training_images"
BEFORE = "balanced_error_before error_before loss_before top5_error_before pretraining_loss"
ALIGNED = "classes_inside evenness images_inside label_entropy largest_over_mean majority_rate"
ALIGNED += " normalised_mutual_information num_classes target_entropy target_entropy_given_label"
SETTING = """seed device labels classes k superclasses d patches feature_patches opposing_patches
    amplitude_spread opposing_amplitude noise strong_noise hard_share unevenness width threshold
    initial_scale activation biases output_weights optimiser learning_rate steps batch_size
    finite_set finetune_steps test_samples top_loss logged"""
MEASURED = """training_loss easy_error hard_error hard_error_common_removed hard_error_no_fine
    hard_error_opposing hard_error_strong_patch hard_error_frequent hard_error_rare head_easy_error
    head_hard_error awake_neurons response_common response_fine start_winners_common
    start_winners_fine start_without_winner winners_common winners_fine without_winner
    projected_common_removed_error projected_easy_error projected_hard_error top_loss_easy_error
    top_loss_error top_loss_hard_share finetuned_training_loss finetuned_easy_error
    finetuned_hard_error finetuned_hard_error_common_removed finetuned_hard_error_no_fine
    finetuned_hard_error_opposing finetuned_hard_error_strong_patch"""
SPLIT = """study compared reference judge extra_gain_on_hard gain gain_1 gain_2 gain_3 gain_4 gain_5
    error_1 error_2 error_3 error_4 error_5"""

OF_IMAGENET = f"{TRAINED} level overlap source_images target_images"
OF_INATURALIST = f"{TRAINED} {BEFORE} {ALIGNED} target training images embedding stages"
COLUMNS = {
    kind: frozenset(f"kind {names}".split())
    for kind, names in {
        "theory.simulate": f"{SETTING} {MEASURED}",
        "imagenet.finetune": OF_IMAGENET,
        "inaturalist.transfer": f"{OF_INATURALIST} foreign_embedding",
        "hardness.split": f"{OF_IMAGENET} {OF_INATURALIST} {SPLIT}",
    }.items()
}
LOGGED = "step training_loss easy_error hard_error response_common response_fine"
CURVES = {"theory.simulate": frozenset(LOGGED.split())}
