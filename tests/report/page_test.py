"""The page of spt report in Debian's chromium, without network: nothing is asked for, no error, charts drawn, the search
works, what a model wrote does nothing. Screenshots, light and dark, go to SPT_SCREENSHOTS: look at them after a change.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "integration"))
BROWSER_PYTHON, CHROMIUM = Path(os.environ["SPT_BROWSER_PYTHON"]), shutil.which("chromium")
if not BROWSER_PYTHON.is_file() or CHROMIUM is None:
    print("SKIPPED: there is no chromium, or no playwright to drive it (launch/setup.sh --browser)")
    sys.exit(0)
if Path(sys.prefix) != BROWSER_PYTHON.parents[1]:
    os.execv(BROWSER_PYTHON, [str(BROWSER_PYTHON), *sys.argv])
from playwright.sync_api import expect, sync_playwright
from made_runs import HOSTILE, main as make_all, make_evaluation, make_judgement, make_run
from runs import PROGRAM, JobTest

SCREENSHOTS = Path(os.environ["SPT_SCREENSHOTS"])


def report(*arguments):
    subprocess.run([PROGRAM, "report", *map(str, arguments)], check=True, capture_output=True, timeout=120)


class PageTest(JobTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        playwright = sync_playwright().start()
        cls.addClassCleanup(playwright.stop)
        # As root chromium has no sandbox; what it opens are pages of ours.
        cls.browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        cls.addClassCleanup(cls.browser.close)

    def open(self, path, **options):
        """The page, watched: self.faults holds errors and warnings of its console, and everything that it asked for."""
        context = self.browser.new_context(offline=True, viewport={"width": 1366, "height": 900}, **options)
        self.addCleanup(context.close)
        context.set_default_timeout(120_000)  # of a machine that does other things as well
        page = context.new_page()
        self.faults = []
        page.on("console", lambda message: self.faults.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", lambda dialog: self.faults.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: self.faults.append(f"asked for {request.url}") if request.url != path.as_uri() and not request.url.startswith(("data:", "blob:")) else None)
        page.goto(path.as_uri())
        page.wait_for_selector("#contents li")
        return page

    def assert_drawn(self, page):
        self.assertGreater(page.locator(".chart").count(), 0)
        empty = "[...document.querySelectorAll('.chart')].filter((chart) => !chart.querySelector('.main-svg .trace path')).map((chart) => chart.ariaLabel)"
        self.assertEqual(page.evaluate(empty), [])

    def test_every_part_of_a_whole_report(self):
        make_all(self.folder / "runs", 60)
        runs = self.folder / "runs"
        out = self.folder / "out"
        report(*(runs / f"role-{i}" for i in (1, 2, 3)), "--baseline", *(runs / f"plain-{i}" for i in (1, 2, 3)), "--out", out)
        for scheme in ("light", "dark"):
            page = self.open(out / "index.html", color_scheme=scheme)
            self.assert_drawn(page)
            titles = page.locator("h2").all_inner_texts()
            self.assertEqual(titles, ["Before you read on", "Runs", "Configuration differences", "Training curves", "Scores", "Differences", "Outputs", "Roles", "Judgements", "Samples",
                                      "How numbers are made"])
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=SCREENSHOTS / f"{scheme}.png", full_page=True)
            self.assertEqual(self.faults, [])
            # Nothing reaches over the edge of the window.
            self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 1366)
        self.assertEqual(page.locator("#judge figcaption").all_inner_texts(), ["role-1 against plain-1, judged by gpt-4o", "role-1 against plain-1, judged by Mistral-7B-Instruct"])
        differences = json.loads((out / "tables" / "differences.json").read_text())
        mean = [row for row in differences if row["task"].startswith("mean") and row["seed"] == "mean"][0]
        self.assertIn(f"{mean['A - B']:+.4f}".replace("-", "−"), page.locator(".tiles").inner_text())
        phone = self.open(out / "index.html")
        phone.set_viewport_size({"width": 400, "height": 800})
        phone.wait_for_timeout(300)
        self.assertLessEqual(phone.evaluate("document.documentElement.scrollWidth"), 400)
        paper = phone.pdf(path=SCREENSHOTS / "page.pdf", format="A4")
        self.assertGreater(len(paper), 10_000)
        self.assertEqual(self.faults, [])

    def test_search_and_filters_by_keyboard(self):
        role, plain = make_run(self.folder / "role"), make_run(self.folder / "plain", "plain")
        tasks = {"gsm8k": 55, "lima_open": 4}
        for arm, run in (("role", role), ("plain", plain)):
            make_evaluation(run / "eval", arm, 1, tasks)
        out = self.folder / "out"
        report(role, plain, "--out", out)
        samples = [[json.loads(line) for line in (run / "eval" / "samples" / "gsm8k.jsonl").read_text().splitlines()] for run in (role, plain)]
        page = self.open(out / "index.html")
        count = page.locator("#sample-count")
        self.assertEqual(count.inner_text(), "55 of 55 samples, page 1 of 6")
        self.assertEqual(page.locator(".sample").count(), 10)
        page.keyboard.press("/")
        page.keyboard.type("gsm8k-00017")
        expect(count).to_have_text("1 of 55 samples, page 1 of 1", timeout=60_000)
        self.assertEqual(page.locator(".sample mark").first.inner_text(), "gsm8k-00017")
        sample = page.locator(".sample").inner_text()
        self.assertIn(samples[0][17]["prompt"], sample)
        self.assertIn(samples[1][17]["answer"], sample)
        page.locator("#sample-search").fill("")
        expect(count).to_have_text("55 of 55 samples, page 1 of 6", timeout=60_000)
        page.keyboard.press("Escape")
        page.keyboard.press("ArrowRight")
        self.assertEqual(count.inner_text(), "55 of 55 samples, page 2 of 6")
        both = [(a["score"], b["score"]) for a, b in zip(*samples)]
        for name, expected in (("differ", sum(a != b for a, b in both)), ("left", both.count((1, 0))), ("right", both.count((0, 1))), ("both", both.count((0, 0))),
                               ("wrong", sum(a + b < 2 for a, b in both)), ("all", 55)):
            page.select_option("#sample-filter", name)
            self.assertTrue(count.inner_text().startswith(f"{expected} of 55 samples"), (name, count.inner_text()))
        page.select_option("#sample-task", "1")
        self.assertEqual(count.inner_text(), "4 of 4 samples, page 1 of 1")
        self.assertEqual(self.faults, [])

    def test_what_a_model_wrote_does_nothing(self):
        role, plain = make_run(self.folder / "ro<img src=x onerror='window.broken=1'>le</script>", model__path="<b>m</b>"), make_run(self.folder / "plain", "plain")
        for arm, run in (("role", role), ("plain", plain)):
            make_evaluation(run / "eval", arm, 1, {"gsm8k": 3 * len(HOSTILE), "lima_open": len(HOSTILE)}, hostile=True)
        make_judgement(role / "eval", plain / "eval", judge="<script>window.broken=1</script>")
        out = self.folder / "out"
        report(role, plain, "--out", out)
        page = self.open(out / "index.html")
        self.assert_drawn(page)
        prompts = ""
        while True:
            prompts += "\n".join(page.locator(".prompt").all_inner_texts())
            if page.get_by_text("Next →").is_disabled():
                break
            page.get_by_text("Next →").click()
        for text in HOSTILE[:3]:
            self.assertIn(text, prompts)
        for text in ("\\x1b[31mred", "a\\x00b", "\\u202egnp.exe", "\\u2028"):
            self.assertIn(text, prompts)
        self.assertEqual(page.evaluate("window.broken"), None)
        self.assertEqual(page.locator("main img, main script, main b:not(.tile b)").count(), 0)
        self.assertEqual(self.faults, [])
        # Also where markup had got in: the policy runs scripts of known hashes only.
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.broken=1\">')")
        page.evaluate("() => { const s = document.createElement('script'); s.textContent = 'window.broken=1'; document.body.append(s); }")
        page.wait_for_timeout(200)
        self.assertEqual(page.evaluate("window.broken"), None)
        self.assertTrue([fault for fault in self.faults if re.search("Content Security Policy", fault)])

    def test_fourteen_thousand_samples_stay_fluid(self):
        evaluations = [make_evaluation(self.folder / arm, arm, 1, {"mmlu": 14_042}) for arm in ("role", "plain")]
        out = self.folder / "out"
        report(*evaluations, "--out", out)
        page = self.open(out / "index.html")
        seconds = page.evaluate("""async () => {
          const begin = performance.now();
          const search = document.getElementById("sample-search");
          search.value = "carla tickets biologist";
          search.dispatchEvent(new Event("input"));
          while (document.getElementById("sample-count").textContent.startsWith("14042")) await new Promise((go) => setTimeout(go, 5));
          return (performance.now() - begin) / 1000;
        }""")
        self.assertLess(seconds, 3)
        self.assertEqual(self.faults, [])


if __name__ == "__main__":
    unittest.main()
