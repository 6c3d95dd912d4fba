"""cmake --install: a folder that may be moved, with what comes with the program, completion and a module file."""
import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path

from runs import JobTest, MPIEXEC, PROGRAM, RECORDS, SOURCE, TINY_MODEL

BUILD = Path(PROGRAM).parent


def output_of(command, **options):
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True, **options).stdout


class InstallTest(JobTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        output_of(["cmake", "--install", BUILD, "--prefix", cls.shared / "there"])
        cls.prefix = cls.shared / "moved" / "spt"
        cls.prefix.parent.mkdir()
        (cls.shared / "there").rename(cls.prefix)
        cls.program = cls.prefix / "bin" / "spt"

    def test_it_runs_where_it_was_moved_to(self):
        self.assertEqual(output_of([self.program, "--version"]), output_of([PROGRAM, "--version"]))
        corpus = self.folder / "c.h5"
        output_of([self.program, "prepare", RECORDS, "--tokenizer", TINY_MODEL, "--template", "chatml", "--out", corpus])
        model = ["model.init=random", f"model.path={TINY_MODEL}", f"data.train={corpus}"]
        config = self.prefix / "share/spt/configs/tiny_cpu.yaml"
        plan = output_of([self.program, "plan", config, "--ranks", 2, "--gpu", "h100-80", *model])
        self.assertIn("tokens a second", plan)
        output_of([MPIEXEC, "-np", 1, self.program, "train", config, "--check", f"run.dir={self.folder / 'run'}", "mesh.tp=1", "data.valid=null", *model])

    def test_names_are_looked_up_in_its_own_files(self):
        job = self.start(self.program, "prepare", RECORDS, "--tokenizer", TINY_MODEL, "--template", "nosuch", "--out", self.folder / "c.h5")
        self.assertEqual(job.finish(), 1)
        self.assertIn(f"in {self.prefix}/share/spt/configs/templates; there are: chatml", job.output)

    def test_libtorch_is_sought_beside_it_first(self):
        torch = Path(re.search(r"=> (\S+)/torch/lib/libtorch_cpu.so ", output_of(["ldd", self.program]))[1])
        beside = self.prefix / "lib" / "spt"
        beside.mkdir(parents=True)
        self.addCleanup(shutil.rmtree, beside)
        for name in ("torch", "nvidia"):
            if (torch / name).exists():
                (beside / name).symlink_to(torch / name)
        for library in ("libtorch_cpu.so", "libc10.so"):
            self.assertRegex(output_of(["ldd", self.program]), rf"{library} => {self.prefix}/bin/\.\./lib/spt/torch/lib/{library} ")

    def test_what_comes_with_it_is_there(self):
        for name in ("configs/tasks/gsm8k.yaml", "configs/annotators/role_prompt.yaml", "configs/machines/h100-80.yaml"):
            self.assertEqual((self.prefix / "share/spt" / name).read_bytes(), (SOURCE / name).read_bytes())
        self.assertEqual((self.prefix / "share/spt/slurm").is_dir(), (SOURCE / "slurm").is_dir())
        self.assertTrue(os.access(self.prefix / "bin/spt-sandbox", os.X_OK))

    @unittest.skipUnless(shutil.which("tclsh"), "no tclsh here")
    def test_the_module_file_finds_the_folder_it_lies_in(self):
        module, = (self.prefix / "share/modulefiles/spt").iterdir()
        stand_ins = "foreach name {module-whatis conflict} {proc $name args {}}; proc prepend-path args {puts $args}; "
        said = output_of(["tclsh"], input=f"{stand_ins} set ModulesCurrentModulefile {module}; source {module}\n")
        self.assertEqual(said, f"PATH {self.prefix}/bin\n")
        self.assertTrue(module.read_text().startswith("#%Module1.0\n"))

    @unittest.skipUnless(shutil.which("modulecmd"), "no Environment Modules here")
    def test_environment_modules_load_it(self):
        # They remember in files of the home what was loaded.
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "MODULEPATH": f"{self.prefix}/share/modulefiles"}
        said = output_of(["modulecmd", "sh", "load", "spt"], env=environment)
        self.assertIn(f"PATH={self.prefix}/bin:", said)


class CompletionTest(JobTest):
    """What the shells offer is what the program's own help says."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.commands = re.findall(r"(?m)^  ([a-z]+) ", output_of([PROGRAM, "--help"]).split("Subcommands:")[1])
        cls.options = {command: set(re.findall(r"(?m)^  (?:-\w,)?(--[a-z-]+)", output_of([PROGRAM, command, "--help"]))) for command in cls.commands}

    def complete(self, *words):
        script = self.folder / "spt.bash"
        script.write_text(output_of([PROGRAM, "completion", "bash"]))
        ask = f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _spt; printf "%s\\n" "${{COMPREPLY[@]}}"'
        return output_of(["bash", "-c", ask, "bash", *words]).split()

    def test_commands(self):
        self.assertIn("rerun", self.commands)
        self.assertEqual(set(self.complete("spt", "")), {*self.commands, "--help", "--version"})
        self.assertEqual(self.complete("spt", "pre"), ["prepare"])

    def test_every_option_of_every_command(self):
        for command in self.commands:
            self.assertIn("--help", self.options[command])
            self.assertEqual(set(self.complete("spt", command, "--")), self.options[command])
        self.assertEqual(self.complete("spt", "train", "x.yaml", "--ch"), ["--check"])

    def test_values_are_files(self):
        self.assertEqual(self.complete("spt", "train", "conf"), [])
        self.assertEqual(self.complete("spt", "prepare", "--out", "-"), [])
        self.assertEqual(self.complete("spt", "train", "--check", "--he"), ["--help"])

    @unittest.skipUnless(shutil.which("zsh"), "no zsh here")
    def test_zsh(self):
        script = self.folder / "_spt"
        script.write_text(output_of([PROGRAM, "completion", "zsh"]))
        # Stand-ins for zsh's own functions, which want a terminal.
        ask = f"""compdef() {{}}; _describe() {{ print -l ${{(P)2}} }}; compadd() {{ print -l $@ }}; _arguments() {{ print -l -- $@ }}
                  source {script}; words=("$@"); CURRENT=$#; _spt"""
        first = output_of(["zsh", "-f", "-c", ask, "zsh", "spt", ""])
        self.assertEqual({line.split(":")[0] for line in first.splitlines()}, {*self.commands, "--help", "--version"})
        for command in self.commands:
            said = output_of(["zsh", "-f", "-c", ask, "zsh", "spt", command, ""])
            self.assertEqual(set(re.findall(r"(?m)^(--[a-z-]+)\[", said)), self.options[command])


if __name__ == "__main__":
    unittest.main()
