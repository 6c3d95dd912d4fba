"""spt doctor: alone and on several ranks; what will fail is exit status 1."""
import os
import resource
import unittest

from runs import BAD_INPUT, JobTest, PROGRAM


class DoctorTest(JobTest):
    def finding(self, output, about, severity):
        lines = [line for line in output.splitlines() if line.startswith(f"{severity:<8} {about}")]
        self.assertEqual(len(lines), 1, output)
        return lines[0]

    def test_alone_nothing_fails_and_nothing_is_left(self):
        output = self.spt("doctor", "--dir", self.folder, "--megabytes", 4)
        self.assertIn("Open MPI v", self.finding(output, "MPI", "ok"))
        self.assertIn("one rank", self.finding(output, "all-reduce", "ok"))
        self.assertRegex(self.finding(output, "folder's speed", "ok"), r"written at \d+ MB/s, read at \d+")
        self.assertIn("nothing here will fail", output)
        self.assertEqual(os.listdir(self.folder), [])

    def test_several_ranks_share_one_report(self):
        output = self.spt("doctor", "--dir", self.folder, "--megabytes", 4, ranks=3)
        self.assertRegex(self.finding(output, "MPI", "ok"), "PMIx .* started by mpirun")
        self.assertRegex(self.finding(output, "all-reduce", "ok"), r"32 MB over 3 rank\(s\) in .* GB/s")
        self.assertRegex(output, r"(?m)^(ok|warning) +ranks +3 on 1 host\(s\), 3 a host; of each 1 thread\(s\)")
        self.finding(output, "folder's locks", "ok")

    def test_more_threads_than_cores_are_a_warning(self):
        job = self.start("env", "OMP_NUM_THREADS=2", PROGRAM, "doctor", "--dir", self.folder, "--megabytes", 1,
                         preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}))
        self.assertEqual(job.finish(), 0, job.output)
        self.assertIn("2 threads on 1 core(s): OMP_NUM_THREADS=1", self.finding(job.output, "ranks", "warning"))

    def test_a_folder_that_takes_no_files_is_a_fault(self):
        output = self.spt("doctor", "--dir", self.folder / "missing", ranks=2, status=BAD_INPUT)
        self.assertIn("--dir tries it", self.finding(output, "folder", "FAULT"))
        self.assertIn("1 FAULT(s)", output)

    def test_too_few_open_files_are_a_fault(self):
        few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        job = self.start_spt("doctor", "--dir", self.folder, "--megabytes", 1, preexec_fn=few)
        self.assertEqual(job.finish(), BAD_INPUT, job.output)
        self.assertIn("100 a process", self.finding(job.output, "open files", "FAULT"))
        self.assertIn("ulimit -n", job.output)

    def test_a_sandbox_that_is_not_there_is_a_warning(self):
        job = self.start("env", "SPT_SANDBOX=/nowhere/spt-sandbox", PROGRAM, "doctor", "--dir", self.folder, "--megabytes", 1)
        self.assertEqual(job.finish(), 0, job.output)
        self.assertIn("where SPT_SANDBOX says", self.finding(job.output, "sandbox", "warning"))


if __name__ == "__main__":
    unittest.main()
