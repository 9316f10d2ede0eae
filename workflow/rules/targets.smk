"""One target a study, by its name, and one for all of them."""


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
