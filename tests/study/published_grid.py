"""Records of all published configurations, as tests change them."""

from mlops_lib import record, tables
from mlops_lib.study import claims
from mlops_lib.study.protocol import PUBLISHED_EPOCHS


def write(made, path, accuracy, **parameters):
    parameters = made.parameters | parameters
    parameters["epochs"] = PUBLISHED_EPOCHS[parameters["dataset"]]
    total = sum(map(sum, made.results["confusion_matrix"]))
    results = made.results | {"test_accuracy": round(accuracy * total) / total}
    results["train_images"] = 49_000
    results["train_cpu_seconds"] = None  # else its time may not count: tests can have company
    results["epochs"] = results["epochs"][:1] * parameters["epochs"]
    record.write(made.model_copy(update={"parameters": parameters, "results": results}), path)


def ours(folder, name):
    judged = claims.judge(tables.all_runs(folder))
    return judged[(judged["source"] == "Our runs") & (judged["id"] == name)].iloc[0]


def shorten(folder):
    """Make every training one of a single epoch."""
    for path, run in tables.records(folder).items():
        changed = {"parameters": run.parameters | {"epochs": 1}}
        changed["results"] = run.results | {"epochs": run.results["epochs"][:1]}
        record.write(run.model_copy(update=changed), path)


def without(folder, wanted):
    for path, run in tables.records(folder).items():
        if run.parameters["model"] != wanted:
            path.unlink()
