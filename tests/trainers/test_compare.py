"""What changes when one exported model takes the place of another."""

import numpy as np
import pandas as pd
import pytest

from tf_radogaga import export_saved_model
from tf_radogaga.saving import copy_model
from tf_radogaga_trainers import compare


def scores(energy, anomaly=None, **more):
    energy = np.array(energy, float)
    anomaly = energy > 2 if anomaly is None else np.array(anomaly)
    index = np.arange(2, 2 + len(energy))  # the first line is the header
    return pd.DataFrame({"energy": energy, "anomaly": anomaly, "valid": True, **more}, index=index)


def test_what_changes_is_counted():
    old, new = scores([0, 1, 2, 3, 9]), scores([0, 1, 4, 3, 1.5])
    old.loc[2, "valid"] = False
    told = compare.report(old, new, most=1).splitlines()
    assert told[0] == "rows         5, 4 of them valid in both"
    assert told[1:3] == [
        "flags        50.0000% old, 50.0000% new",
        "changed      50.0000% of the rows: 25.0000% flagged anew, 25.0000% no longer",
    ]
    assert told[3].startswith("energy       new - old in nats: mean -1.375, sd 3.629, 1% -7.275, 50% 0, 99% 1.94")
    assert told[4] == "order        rank correlation of the energies 0.2000"
    assert told[6:] == ["  4: 2, 50.0% -> 4, 100.0%"]


def test_nats_are_compared_where_both_models_have_them():
    old, new = scores([0, 1], log_density=[-1.0, -2.0]), scores([5, 6], log_density=[-2.0, -3.0])
    assert "log_density  new - old in nats: mean -1, sd 0," in compare.report(old, new, most=1)
    assert "energy       new - old in nats: mean 5," in compare.report(scores([0, 1]), new, most=1)


def test_rows_of_which_none_is_valid_end_the_report():
    old = scores([0, 1])
    old["valid"] = False
    assert compare.report(old, old, most=1) == "rows         2, 0 of them valid in both"


def test_a_model_equals_itself_and_another_threshold_moves_flags_alone(exported, tmp_path, capsys):
    model, rows, version = exported("log-table-features")
    other = copy_model(model)
    other.set_threshold(model.energy(rows).numpy(), 0.2)  # a tenth before
    strict = export_saved_model(other, tmp_path / "strict")
    pd.concat([rows, rows[:1].assign(**{"blood pressure": np.nan})]).to_csv(tmp_path / "rows.csv", index=False)
    for new, changed in ((version.parent, "0.0000%"), (strict, "10.0000%")):
        compare.main([str(version), str(new), "--input", str(tmp_path / "rows.csv"), "--batch-size", "70"])
        told = capsys.readouterr().out
        assert f"rows         {len(rows) + 1}, {len(rows)} of them valid in both" in told
        assert f"changed      {changed} of the rows: {changed} flagged anew, 0.0000% no longer" in told
        assert "energies 1.0000" in told and "mean 0, sd 0, 1% 0, 50% 0, 99% 0" in told


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"--input: .*none.csv is not a file"):
        compare.main(["a", "b", "--input", str(tmp_path / "none.csv")])
