import ctypes
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from jupyter_client.utils import run_sync
from tiny_runs import assert_gone, outcome_of, tiny_slots

from mlops_lib.runner import grid, kernels
from mlops_lib.runner.grid import Options


def test_jobs_divide_the_machine(tmp_path):
    shares = kernels.shares(2)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        assert set(shares[0].cores).isdisjoint(shares[1].cores)
    assert all(share.threads == max(1, len(cores) // 2) for share in shares)
    outcomes = list(grid.execute_all(tiny_slots(tmp_path, 2), Options(jobs=2)))
    assert {outcome.record.environment["cores"] for outcome in outcomes} == {shares[0].threads}


def test_a_container_with_a_quota_is_not_bound_to_the_first_cores(monkeypatch):
    if len(os.sched_getaffinity(0)) > 1:
        assert kernels.shares(1)[0].cores
        monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
        assert kernels.shares(1)[0].cores == ()
        assert kernels.shares(1)[0].threads == 1


def test_each_of_several_gpus_has_its_own_job(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(kernels.machine, "cuda_count", lambda: 2)
    assert [share.gpu for share in kernels.shares(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert [share.gpu for share in kernels.shares(2)] == ["3", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert [share.gpu for share in kernels.shares(2)] == [None, None]
    assert [share.gpu_shared for share in kernels.shares(2)] == [True, True]
    assert not kernels.shares(1)[0].gpu_shared


@pytest.fixture
def kernel(tmp_path):
    """Return a forked kernel's manager and a function that evaluates an expression there."""
    with kernels.forked(tmp_path) as manager:
        run_sync(manager.start_kernel)()
        client = manager.client()
        client.start_channels()
        run_sync(client.wait_for_ready)(timeout=60)

        def evaluate(expression):
            reply = run_sync(client.execute_interactive)(
                "", user_expressions={"x": expression}, timeout=60
            )
            return eval(reply["content"]["user_expressions"]["x"]["data"]["text/plain"])

        yield manager, evaluate
        client.stop_channels()


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return open(f"/proc/{pid}/stat").read().split()[2] == "Z"


def test_a_forked_kernel_has_imported_everything_and_used_nothing(kernel, tmp_path):
    _, evaluate = kernel
    assert evaluate("'torch' in __import__('sys').modules")
    assert evaluate("__import__('os').getcwd()") == str(tmp_path)
    assert not evaluate("__import__('torch').cuda.is_initialized()")
    assert evaluate("__import__('matplotlib').get_backend()").endswith("inline")


def test_it_has_no_settings_or_start_up_files_of_the_user(kernel):
    manager, evaluate = kernel
    assert evaluate("get_ipython().ipython_dir") == f"{os.path.dirname(manager.ip)}/ipython"
    assert evaluate("__import__('os').environ['PYTHONSTARTUP']") == ""


@pytest.mark.parametrize("fast", ["on", "off"])
def test_it_is_of_this_environment(tmp_path, monkeypatch, fast):
    monkeypatch.setenv("MLOPS_FAST", fast)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    (tmp_path / "kernels" / "python3").mkdir(parents=True)
    (tmp_path / "kernels" / "python3" / "kernel.json").write_text('{"argv": ["false"]}')
    with kernels.forked(tmp_path) as manager:
        assert manager.kernel_spec.argv[0] == sys.executable


def test_it_is_a_process_group_of_its_own(kernel):
    manager, evaluate = kernel
    pid = evaluate("__import__('os').getpid()")
    assert pid == manager.provisioner.pid == os.getpgid(pid)
    assert pid != os.getpid()


def test_it_may_have_children(kernel):
    _, evaluate = kernel
    loader = "__import__('torch').utils.data.DataLoader(range(4), num_workers=1)"
    assert evaluate(f"[int(part) for part in {loader}]") == [0, 1, 2, 3]


def test_it_answers_what_arrives_while_it_replies(kernel):
    manager, _ = kernel
    client = manager.clients[-1]
    chance = random.Random(0)
    for _ in range(20):
        asked = set()
        for _ in range(30):
            asked.add(client.execute("pass"))
            time.sleep(chance.uniform(0, 0.004))
        while asked:
            reply = run_sync(client.get_shell_msg)(timeout=20)
            asked.discard(reply["parent_header"]["msg_id"])


def test_it_ends_with_its_manager(tmp_path):
    with kernels.forked(tmp_path) as manager:
        run_sync(manager.start_kernel)()
        pid = manager.provisioner.pid
        assert not gone(pid)
    for _ in range(50):
        if gone(pid):
            break
        time.sleep(0.1)
    assert gone(pid)


def test_what_has_ended_is_not_signalled_by_its_number(tmp_path):
    with kernels.forked(tmp_path) as manager:
        run_sync(manager.start_kernel)()
        process = manager.provisioner.process
        manager.end()
        process.wait()
        with subprocess.Popen(["sleep", "60"]) as other:
            process.pid = other.pid  # as if the system had used the number again
            manager.end()
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(timeout=0.5)
            other.kill()


def test_a_kernel_that_can_not_be_forked_is_not_blamed_on_a_file(tmp_path, monkeypatch):
    def refuse(*_):
        raise ConnectionRefusedError(111, "Connection refused")  # the server has ended

    monkeypatch.setattr(kernels, "_Process", refuse)
    (outcome,) = grid.execute_all(tiny_slots(tmp_path, 1))
    assert "forked: [Errno 111]" in outcome.error and str(tmp_path) not in outcome.error


def test_where_nothing_can_be_forked_the_kernel_is_an_ordinary_one(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels.multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    with kernels.forked(tmp_path) as manager:
        assert manager.provisioner is None


def test_a_switch_makes_kernels_ordinary_and_changes_no_result(tmp_path, monkeypatch):
    startup = tmp_path / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("import builtins; del builtins.print")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(startup / "00.py"))
    (forked,) = grid.execute_all(tiny_slots(tmp_path / "forked", 1))
    monkeypatch.setenv("MLOPS_FAST", "off")
    monkeypatch.setattr(kernels, "ForkProvisioner", None)  # it must not be called
    (ordinary,) = grid.execute_all(tiny_slots(tmp_path / "ordinary", 1))
    assert ordinary.error is None
    assert outcome_of(ordinary.record) == outcome_of(forked.record)


def hang():
    """Be busy in compiled code that holds Python's lock."""
    kernels.end_with_runner()
    print(os.getpid(), flush=True)
    ctypes.PyDLL(None).sleep(60)


def test_a_killed_runner_ends_what_compiled_code_keeps_busy():
    code = (
        "import multiprocessing, test_kernels\n"
        "context = multiprocessing.get_context('forkserver')\n"
        "busy = context.Process(target=test_kernels.hang)\n"
        "busy.start()\n"
        "busy.join()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True
    ) as runner:
        busy = psutil.Process(int(runner.stdout.readline()))
        time.sleep(0.5)  # it sleeps by now
        runner.kill()
        assert_gone([busy])


def test_a_killed_runner_ends_the_server_that_is_still_importing(tmp_path):
    (tmp_path / "torchvision.py").write_text("import time; time.sleep(60)")  # a slow import
    code = (
        "import subprocess, sys, time\n"
        "server = subprocess.Popen([sys.executable, '-c', 'import mlops_lib.runner.preload'])\n"
        "print(server.pid, flush=True)\n"
        "server.wait()"
    )
    slow = os.environ | {"PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=slow, stdout=subprocess.PIPE, text=True
    ) as runner:
        server = psutil.Process(int(runner.stdout.readline()))
        time.sleep(0.5)  # it imports by now
        runner.kill()
        assert_gone([server])


def test_what_multiprocessing_starts_beside_the_server_may_be_killed(tmp_path, recwarn):
    kernels.start_server()
    for child in psutil.Process().children():
        if "resource_tracker" in " ".join(child.cmdline()):
            child.kill()
            child.wait()
    with kernels.forked(tmp_path) as manager:
        run_sync(manager.start_kernel)()
    assert not [seen for seen in recwarn if "resource_tracker" in str(seen.message)]
