"""The self-test of a device: right passes, wrong is caught, and each fault is named."""

import dataclasses
import math

import numpy as np
import psutil
import pytest
import torch

from lib.course import device as device_module
from lib.course.device import (
    OPERATIONS,
    Operation,
    available_devices,
    best_device,
    environment,
    main,
    self_test,
)

NAMES = [operation.name for operation in OPERATIONS]


@pytest.fixture(autouse=True)
def no_override(monkeypatch):
    monkeypatch.delenv("COURSE_DEVICE", raising=False)


def faulty(name, fault):
    """The operations, one of them with a fault put into its first result."""

    def broken(operation):
        def on_device(device):
            first, *rest = operation.on_device(device)
            return [fault(first), *rest]

        return dataclasses.replace(operation, on_device=on_device)

    return [broken(o) if o.name == name else o for o in OPERATIONS]


def off_by_one_per_cent(result):
    return result.double() * 1.01 if result.dtype != torch.bool else ~result


def one_element_wrong(result):
    result = result.detach().clone().double()
    result.view(-1)[-1] += 0.05
    return result


def with_nan(result):
    result = result.detach().clone().double()
    result.view(-1)[0] = math.nan
    return result


def of_another_shape(result):
    return result.detach().reshape(-1)[None, None]


def raising(result):
    raise NotImplementedError("not implemented for this backend")


def some_accelerator(monkeypatch):
    """Pretend that there is an accelerator; the meta device stands in for it."""
    monkeypatch.setattr(device_module, "available_devices", lambda: ["cpu", "meta:0"])


# ---------------------------------------------------------------- what passes, what fails


@pytest.mark.parametrize("device", available_devices())
def test_every_device_of_this_machine_calculates_right(device):
    report = self_test(device)
    assert report.ok, str(report)
    assert [result.name for result in report.results] == NAMES


def test_the_cpu_has_room_to_spare_below_every_tolerance():
    """Other processors round otherwise; a tolerance that is nearly used up here fails there."""
    for result in self_test("cpu").results:
        assert result.error <= result.tolerance / 5, result


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "fault", [off_by_one_per_cent, one_element_wrong, with_nan, of_another_shape, raising]
)
def test_every_fault_in_every_operation_is_caught(name, fault):
    (operation,) = (o for o in faulty(name, fault) if o.name == name)
    assert not self_test("cpu", [operation]).ok


def test_a_fault_in_one_operation_leaves_the_others_right():
    report = self_test("cpu", faulty("layer norm", off_by_one_per_cent))
    assert [result.name for result in report.failures] == ["layer norm"]


def test_a_nan_is_named():
    report = self_test("cpu", faulty("layer norm", with_nan))
    assert "layer norm" in str(report) and "NaN in the result" in str(report)


def test_an_operation_that_the_device_lacks_is_a_failure_and_not_a_crash():
    (failure,) = self_test("cpu", faulty("causal attention", raising)).failures
    assert failure.note == "NotImplementedError: not implemented for this backend"


def test_a_wrong_shape_is_named():
    (failure,) = self_test("cpu", faulty("causal attention", of_another_shape)).failures
    assert "instead of" in failure.note


def test_an_infinite_result_is_caught_even_where_infinity_is_subtracted_from_infinity():
    infinite = Operation(
        "infinite", lambda device: [torch.tensor(math.inf)], lambda: [np.array(math.inf)], 1e-3
    )
    assert not self_test("cpu", [infinite]).ok


def test_the_report_is_a_table_with_a_line_for_each_operation():
    text = str(self_test("cpu", faulty("layer norm", off_by_one_per_cent)))
    assert len(text.splitlines()) == 1 + len(OPERATIONS)
    assert next(line for line in text.splitlines() if "WRONG" in line).startswith("layer norm")
    assert text.count("  ok") == len(OPERATIONS) - 1


def test_the_self_test_leaves_the_random_generator_alone():
    before = torch.random.get_rng_state()
    self_test("cpu")
    assert torch.equal(before, torch.random.get_rng_state())


# ---------------------------------------------------------------- choosing a device


def test_without_an_accelerator_the_cpu_is_chosen(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert best_device() == torch.device("cpu")


def test_an_accelerator_that_passes_is_chosen(monkeypatch):
    some_accelerator(monkeypatch)
    assert best_device(operations=[]) == torch.device("meta")


def test_an_accelerator_that_fails_is_passed_over_with_a_warning(monkeypatch):
    some_accelerator(monkeypatch)
    with pytest.warns(UserWarning) as caught:
        assert best_device() == torch.device("cpu")
    message = str(caught[0].message)
    assert "layer norm" in message and "driver" in message and "COURSE_DEVICE=cpu" in message


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_a_device_that_was_asked_for_and_fails_is_an_error(monkeypatch, by):
    some_accelerator(monkeypatch)
    if by == "variable":
        monkeypatch.setenv("COURSE_DEVICE", "meta")
    with pytest.raises(
        RuntimeError, match=r"was asked for, but calculates wrong.*COURSE_DEVICE=cpu"
    ):
        best_device("meta" if by == "argument" else None)


def test_the_variable_can_turn_an_accelerator_off(monkeypatch):
    some_accelerator(monkeypatch)
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    assert best_device() == torch.device("cpu")


def test_a_cpu_build_that_fails_says_to_install_again():
    operations = faulty("layer norm", off_by_one_per_cent)
    with pytest.raises(RuntimeError, match=r"wrong on the CPU: layer norm\. Install torch again"):
        best_device("cpu", operations)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "cpu:7", None, "meta"])
def test_a_device_that_is_not_there_is_refused_with_a_list(name):
    with pytest.raises(ValueError, match=r"There is no device .* there are: cpu"):
        self_test(name)


def test_an_unknown_device_in_the_variable_is_refused(monkeypatch):
    monkeypatch.setenv("COURSE_DEVICE", "tpu9000")
    with pytest.raises(ValueError, match="'tpu9000' here; there are: cpu"):
        best_device()


# ---------------------------------------------------------------- the environment


def test_the_environment_of_the_tests_is_in_order():
    surroundings = environment()
    assert surroundings.ok, str(surroundings)
    names = [fact.name for fact in surroundings.facts]
    assert {"Python", "system", "torch", "devices", "memory", "free disk"} <= set(names)


def test_an_old_library_and_a_missing_one_are_named():
    facts = device_module._package_facts(["numpy>=99", "no-such-library>=1", "torch"])
    assert [fact.name for fact in facts] == ["numpy", "no-such-library"]
    assert "is needed" in facts[0].found and facts[1].found == "missing"
    assert all("python course.py lab" in fact.remedy for fact in facts)


def test_optional_libraries_are_not_asked_for():
    (fact,) = device_module._package_facts(["numpy", 'no-such-library; extra == "dev"'])
    assert fact.remedy == "" and "all 1 " in fact.found


def test_little_memory_and_little_disk_come_with_a_remedy(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"total": 2e9}))
    monkeypatch.setattr(device_module.shutil, "disk_usage", lambda _: type("D", (), {"free": 1e8}))
    surroundings = environment()
    assert not surroundings.ok
    assert "close other programs" in str(surroundings) and "COURSE_CACHE" in str(surroundings)


def test_the_command_prints_both_and_succeeds(capsys):
    assert main(["cpu"]) == 0
    printed = capsys.readouterr().out
    assert "Python" in printed and "causal attention" in printed


def test_the_command_refuses_an_unknown_device(capsys):
    assert main(["tpu9000"]) == 2
    assert "there are: cpu" in capsys.readouterr().err
