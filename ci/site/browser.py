#!/usr/bin/env python3
"""Looks at the pages of `verify --site` in a real browser: sorting, filters, links, keyboard, phone, dark, print, and a
submission whose every string is an attack; and, where `golf-harness` lies beside `verify`, at the pages of runs (runs.py).
Needs chromium and chromedriver (ci/site/install.sh).

  ci/site/browser.py target/release/verify
  AXE_CORE=axe.min.js ci/site/browser.py target/release/verify     with axe-core's checks of accessibility
  ci/site/browser.py target/release/verify --pictures DIR [TREE]   pictures of a tree's pages, or of invented ones
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import invented  # noqa: E402
import runs  # noqa: E402
from webdriver import Browser, is_there  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures" / "submissions"
WIDTHS = (360, 768, 1280, 2560)
SUBMISSIONS = 2000

# Runs where text becomes markup, leaves its attribute, ends its block of data or starts a formula.
ATTACKS = [
    "</script><script>window.attacked=1</script>",
    "<img src=x onerror=window.attacked=2>",
    "\"'><svg onload=window.attacked=3>",
    "javascript:window.attacked=4",
    "{{ 7*7 }}${7*7}<!--",
    "=HYPERLINK(\"http://example.invalid\")",
    "\u202egnol\u2066" + "x" * 300,
]


def build(verify, tree, site, *flags):
    command = [verify, str(tree), "--site", str(site), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1, 2), done.stderr
    assert (site / "index.html").exists(), done.stderr


def page_of(site, part):
    return next(path for path in sorted((site / "s").iterdir()) if path.name.startswith(part))


def hostile_tree(folder):
    """A submission whose names, claims, logs and code are attacks."""
    attack = " ".join(ATTACKS)
    place = folder / "tree" / "records" / "track_10min_16mb" / "2026-03-25_<img src=x onerror=window.attacked=5>"
    place.mkdir(parents=True)
    submission = {
        "name": attack, "author": ATTACKS[1], "date": "2026-03-25", "val_bpb": 1.2, "bytes_total": 17000000,
        "track": ATTACKS[2], "github_id": ATTACKS[3], "blurb": attack, "seed_results": {"1": {"val_bpb": 1.1}},
    }
    (place / "submission.json").write_text(json.dumps(submission))
    (place / "README.md").write_text(f"# {attack}\n\n[click](javascript:window.attacked=6)\n")
    (place / "train_gpt.py").write_text(f"# {attack}\nimport urllib.request\nx = '''{attack}'''\n")
    log = "".join(
        f"step:{step}/900 train_loss:{3 - step / 900} val_bpb:{2 - step / 900} train_time:{step * 1000}ms {attack}\n"
        for step in range(0, 901, 100)
    )
    log += f"final_int8 {attack} val_bpb:1.5 Total submission size: 17000000 bytes\nTraceback (most recent call last) {attack}\n"
    (place / f"train_seed1_{ATTACKS[1][:20]}.log").write_text(log)
    return folder / "tree"


def large_tree(folder):
    for number in range(SUBMISSIONS):
        place = folder / "records" / "track_10min_16mb" / f"2026-0{3 + number % 3}-{1 + number % 28:02}_Run{number}"
        place.mkdir(parents=True)
        claim = {"name": f"Run {number}", "author": f"author {number % 90}", "date": place.name[:10],
                 "val_bpb": round(1.05 + (number * 37 % 1000) / 5000, 5), "bytes_total": 15_500_000 + number * 400}
        (place / "submission.json").write_text(json.dumps(claim))
        (place / "train_gpt.py").write_text("pass\n")
    return folder


class Checks:
    def __init__(self, browser, axe):
        self.browser, self.axe, self.count = browser, axe, 0

    def that(self, holds, what):
        assert holds, what
        self.count += 1

    def equal(self, found, expected, what):
        self.that(found == expected, f"{what}: {found!r}, expected {expected!r}")

    def quiet(self, what):
        complaints = self.browser.complaints()
        self.that(not complaints, f"{what}: the console says {complaints}")

    def fits(self, what):
        """Nothing wider than the window; nothing from elsewhere; nothing that axe-core calls serious."""
        for width in WIDTHS:
            self.browser.size(width, is_phone=width < 500)
            wide = self.browser.value("document.documentElement.scrollWidth - innerWidth")
            self.that(wide <= 0, f"{what} is {wide} pixels too wide at {width}")
        self.browser.size(1280)
        elsewhere = self.browser.value(
            "performance.getEntriesByType('resource').map((entry) => entry.name).filter((name) => !name.startsWith('file:'))"
        )
        self.equal(elsewhere, [], f"{what} loads nothing from elsewhere")
        self.accessible(what)

    def accessible(self, what):
        if not self.axe:
            return
        for scheme in ("light", "dark"):
            self.browser.media(scheme)
            self.browser.devtools("Runtime.evaluate", expression=self.axe)
            self.browser.run("window.axeDone = null; axe.run({preload: false}).then((result) => { window.axeDone = result; });")
            self.browser.wait("window.axeDone !== null", 60)
            found = self.browser.value(
                "axeDone.violations.filter((v) => ['serious', 'critical'].includes(v.impact))"
                ".map((v) => v.id + ': ' + v.nodes.slice(0, 3).map((n) => n.target + ' ' + n.failureSummary).join('; '))"
            )
            self.equal(found, [], f"{what}, {scheme}: axe-core")
        self.browser.media()


def overview(check, site):
    browser = check.browser
    browser.size(1280)
    browser.open(site / "index.html")
    browser.wait("document.documentElement.dataset.ready")
    names = "[...document.querySelectorAll('.rows tbody .subject a')].map((a) => a.textContent.trim())"
    count = len(browser.value(names))
    check.equal(count, len(list((site / "s").iterdir())), "a row a submission")
    check.equal(browser.value("document.querySelectorAll('[data-scatter] svg').length"), 1, "one scatter")

    numbers = "[...document.querySelectorAll('.rows tbody [data-label=\"claimed bpb\"]')].map((td) => td.textContent).filter(Boolean).map(Number)"
    browser.click("[data-sort=bpb]")
    check.equal(browser.value(numbers), sorted(browser.value(numbers)), "sorted by bits per byte")
    check.equal(browser.value("document.querySelector('[aria-sort]').textContent.trim()"), "claimed bpb ↑", "header says so")
    browser.press("enter")
    check.equal(browser.value(numbers), sorted(browser.value(numbers), reverse=True), "the other way round, by keyboard")
    check.that("sort=-bpb" in browser.value("location.hash"), "the address says so")

    browser.click(".bars button")
    rule = browser.value("document.querySelector('.bars [aria-pressed=true] .name').textContent")
    shown = browser.value(names)
    check.that(0 < len(shown) < count, f"{rule} filters {len(shown)} of {count}")
    check.that(browser.value("document.querySelector('[data-count]').textContent").startswith(f"{len(shown)} of {count} shown"), "counts")
    fragment = browser.value("location.hash")
    browser.back()
    check.equal(len(browser.value(names)), count, "the back button takes a filter back")
    browser.open(site / "index.html", fragment)
    check.equal(browser.value(names), shown, "a link shows what its sender saw")
    browser.open(site / "index.html", "?" + fragment[1:])
    check.equal(browser.value(names), shown, "and so does a query")
    browser.click("[data-clear]")
    check.equal(len(browser.value(names)), count, "show all")
    browser.press("/")
    browser.type("input[type=search]", "over-budget")
    browser.wait("document.querySelector('[data-count]').textContent.startsWith('1 of')")
    check.that("q=over-budget" in browser.value("location.hash"), "a search is in the address")
    browser.open(site / "index.html", "#budget=over")
    check.that("over the byte budget, by up to" in browser.value("document.querySelector('[data-count]').textContent"), "by how much over")

    browser.run(
        "window.saved = []; golf.save = (name, type, text) => window.saved.push([name, text]);"
        "document.querySelector('[data-csv]').click(); document.querySelector('[data-json]').click();"
    )
    (_, table), (_, rows) = browser.value("window.saved")
    check.equal(len(json.loads(rows)), len(browser.value(names)), "JSON of what is shown")
    check.equal(len(table.strip().split("\r\n")), len(json.loads(rows)) + 1, "CSV of what is shown")

    background = "getComputedStyle(document.body).backgroundColor"
    light = browser.value(background)
    browser.media("dark")
    dark = browser.value(background)
    check.that(light != dark, "dark as the system is")
    browser.click("[data-theme-button]")
    check.equal(browser.value(background), light, "light by choice")
    browser.run("localStorage.clear(); delete document.documentElement.dataset.theme;")
    browser.media(media="print")
    check.equal(browser.value("getComputedStyle(document.querySelector('.filters')).display"), "none", "no filters on paper")
    browser.media()
    browser.open(site / "index.html")
    browser.press("tab")
    check.equal(browser.value("document.activeElement.className"), "skip", "the first stop skips to the content")
    check.quiet("overview")
    check.fits("overview")


def pages(check, site):
    browser = check.browser
    browser.open(page_of(site, "good"))
    browser.wait("document.documentElement.dataset.ready")
    lines = "document.querySelectorAll('[data-curve=bpb] path.line').length"
    check.equal(browser.value(lines), 3, "a curve a seed")
    before = browser.value(lines)
    browser.click("[data-legend] input")
    check.equal(browser.value(lines), before - 1, "a seed can be hidden")
    check.quiet("page of a submission")
    check.fits("page of a submission")
    browser.open(page_of(site, "over-budget"))
    check.that("over 16,000,000" in browser.value("document.querySelector('.budget').textContent"), "the bar says by how much")
    check.that(browser.value("document.querySelectorAll('.quote li.here').length") > 0, "findings quote lines")
    check.that("over_budget (fail)" in browser.value("document.getElementById('dispute-text').value"), "text of a dispute")
    link = browser.value("document.querySelector('.finding a').getAttribute('href')")
    check.that(re.fullmatch(r"\.\./rules\.html#\w+", link), link)
    browser.click(".finding a")
    browser.wait("location.pathname.endsWith('rules.html')")
    check.that(browser.value("document.querySelector(':target dd').textContent.length") > 10, "what the rule means")
    check.quiet("rules")
    check.fits("rules")


def hostile(check, folder, verify):
    browser = check.browser
    site = folder / "hostile"
    build(verify, hostile_tree(folder), site)
    for page in [site / "index.html", *sorted((site / "s").iterdir())]:
        browser.open(page)
        browser.wait("document.documentElement.dataset.ready")
        check.equal(browser.value("window.attacked || null"), None, f"{page.name} runs nothing of others")
        check.equal(browser.value("document.querySelectorAll('img, iframe, object, [onerror], [onload]').length"), 0, "no markup of others")
        check.equal(browser.value("[...document.querySelectorAll('a')].filter((a) => a.protocol === 'javascript:').length"), 0, "no links of others")
        check.equal(browser.value("document.querySelectorAll('script:not([type])').length"), 1, "one script")
        check.quiet(page.name)
        check.fits(page.name)
    # The policy itself, put to the test from inside.
    for attack in (
        "const script = document.createElement('script'); script.textContent = 'window.attacked = 7'; document.body.append(script);",
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\\'window.attacked = 8\\'>');",
    ):
        said = browser.run(f"try {{ {attack} return 'done'; }} catch (error) {{ return String(error); }}")
        check.that(said != "done" and browser.value("window.attacked || null") is None, f"the policy refuses {attack}")
    check.that(browser.complaints(), "and says so")


def compared(check, folder, verify):
    """The same tree before and after a submission grew over its budget."""
    browser = check.browser
    tree = folder / "compared"
    shutil.copytree(FIXTURES / "good", tree / "a")
    shutil.copytree(FIXTURES / "over-budget", tree / "b")
    subprocess.run([verify, tree, "--format", "json", "-o", folder / "old.json"], check=False, capture_output=True)
    shutil.rmtree(tree / "a")
    shutil.copytree(FIXTURES / "over-budget", tree / "a")
    site = folder / "compared-site"
    build(verify, tree, site, "--compare", str(folder / "old.json"))
    browser.open(site / "index.html", "#change=worse")
    check.equal(browser.value("document.querySelectorAll('.rows tbody tr').length"), 1, "one became worse")
    check.that("over_budget: nothing became fail" in browser.value("document.querySelector('[data-changes]').textContent"), "and why")
    check.fits("comparison")


def many(check, folder, verify):
    browser = check.browser
    site = folder / "many-site"
    build(verify, large_tree(folder / "many"), site)
    browser.size(1280)
    browser.open(site / "index.html")
    browser.wait("document.documentElement.dataset.ready")
    ready = browser.value("Number(document.documentElement.dataset.ready)")
    browser.wait(f"document.querySelectorAll('.rows tbody tr').length === {SUBMISSIONS}")
    filtering = browser.value(
        "(() => { const start = performance.now(); const field = document.querySelector('input[type=search]');"
        " field.value = 'run 19'; field.dispatchEvent(new Event('input')); return performance.now() - start; })()"
    )
    check.that(browser.value("document.querySelector('[data-count]').textContent").endswith("bytes"), "filtered")
    print(f"{SUBMISSIONS} submissions: drawn {ready} ms after the page was asked for, filtered in {filtering:.0f} ms")


def pictures(verify, folder, tree):
    """Pictures to look at, and the three of docs/site.md, of pages in all widths."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, Browser() as browser:
        scratch = pathlib.Path(scratch)
        tree = tree or invented.tree(scratch / "invented", FIXTURES / "good" / "train_gpt.py")
        site, evil = scratch / "site", scratch / "evil"
        build(verify, tree, site)
        build(verify, hostile_tree(scratch), evil)
        largest = max((site / "s").iterdir(), key=lambda path: path.stat().st_size)
        golf = pathlib.Path(verify).with_name("golf-harness")
        made = runs.make(scratch / "runs", golf, ["A tiny network", "of seeds", "to look at"]) if golf.exists() else {}
        views = [("overview", site / "index.html"), ("submission", largest), ("rules", site / "rules.html"),
                 ("hostile", next((evil / "s").iterdir()))]
        views += [(name.replace(" ", "-"), path) for name, (path, _) in made.items()]
        for name, page in views:
            for scheme, width, height in [("light", 360, 2400), ("dark", 360, 800), ("light", 1100, 1200),
                                          ("light", 1280, 3000), ("dark", 1280, 900), ("light", 2560, 1400)]:
                browser.size(width, height, width < 500)
                browser.media(scheme)
                browser.open(page)
                browser.picture(folder / f"{name}-{scheme}-{width}x{height}.png")
            browser.size(1000, 1400)
            browser.media(media="print")
            browser.open(page)
            browser.picture(folder / f"{name}-print.png")
            browser.media()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if not is_there():
        sys.exit("chromium and chromedriver are needed: ci/site/install.sh")
    verify = str(pathlib.Path(sys.argv[1]).resolve())
    if "--pictures" in sys.argv:
        rest = sys.argv[sys.argv.index("--pictures") + 1:]
        pictures(verify, pathlib.Path(rest[0]), rest[1] if len(rest) > 1 else None)
        return
    axe = os.environ.get("AXE_CORE")
    source = pathlib.Path(axe).read_text() if axe else None
    with tempfile.TemporaryDirectory() as scratch, Browser() as browser:
        folder = pathlib.Path(scratch)
        site = folder / "site"
        build(verify, FIXTURES, site)
        check = Checks(browser, source)
        overview(check, site)
        pages(check, site)
        hostile(check, folder, verify)
        compared(check, folder, verify)
        many(check, folder, verify)
        golf = pathlib.Path(verify).with_name("golf-harness")
        if golf.exists():
            runs.pages_of_runs(check, folder, golf, ATTACKS)
        else:
            print(f"no {golf}: pages of runs were not looked at")
        print(f"{check.count} checks in a browser held" + ("" if source else "; without axe-core, which AXE_CORE names"))


if __name__ == "__main__":
    main()
