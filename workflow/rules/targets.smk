"""Targets: the data sets alone, their inputs and archives, each study by its name, all studies."""


rule data:
    """Targets, spectra and selection of every data set, without any study."""
    input:
        [dataset_outputs(dataset) for dataset in CONFIG.sets],


rule inputs:
    """VASP's inputs of every data set that VASP computes."""
    input:
        [input_folders(dataset) for dataset in computed_with("vasp")],


rule archives:
    """Every data set of the config as an archive that can be shipped."""
    input:
        [archive_outputs(dataset) for dataset in CONFIG.datasets],


rule studies:
    """Every study of the config."""
    input:
        [study_outputs(study) for study in CONFIG.studies],


for study in CONFIG.studies:
    if study in {rule.name for rule in workflow.rules}:
        raise WorkflowError(f"studies.{study}: a rule has this name; choose another")

    rule:
        name:
            study
        input:
            study_outputs(study),
