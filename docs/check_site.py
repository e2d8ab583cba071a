"""Check the built site: ``python docs/check_site.py docs/_build``.

Reads every page, and looks at some of them in headless Chromium where Playwright and a browser are installed.
"""

import shutil
import sys
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: Tags that make a browser fetch something, and the attribute that says what.
FETCHING = {"script": "src", "link": "href", "img": "src", "source": "src", "iframe": "src", "video": "src"}

#: Pages that are looked at in a browser: all but those of the reference, of which these stand for the others.
REFERENCE = ("api/index", "api/generated/ntkrs.Kernel", "api/generated/ntkrs.predict.gradient_descent_mse")
LISTS = {"genindex", "py-modindex", "search"}
WIDTHS, SCHEMES = (390, 1200), ("light", "dark")


class Page(HTMLParser):
    """The fetched files, links, anchors and pictures of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.nameless: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag refers to."""
        found = {name: value or "" for name, value in attrs}
        self.anchors.add(found.get("id", ""))
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag in FETCHING and FETCHING[tag] in found and found.get("rel") not in {"next", "prev", "index", "search"}:
            self.fetched.append(found[FETCHING[tag]])
        small = "_thumb." in found.get("src", "")  # beside the title of what it shows
        if tag == "img" and not found.get("alt") and not small:
            self.nameless.append(found.get("src", ""))


def local(target: str) -> bool:
    """Return True for a reference to this site."""
    return not urlsplit(target).scheme and not target.startswith("//")


def read(site: Path) -> list[str]:
    """Return the faults that the files show."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}
    faults = []
    for path, page in pages.items():
        name = path.relative_to(site).as_posix()
        faults += [f"{name}: fetches {target} from another host" for target in page.fetched if not local(target)]
        faults += [f"{name}: the image {source} has no alt text" for source in page.nameless]
        for target in filter(local, page.links + page.fetched):
            parts = urlsplit(target)
            other = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not other.exists():
                faults.append(f"{name}: links to {target}, which does not exist")
            elif parts.fragment and other in pages and unquote(parts.fragment) not in pages[other].anchors:
                faults.append(f"{name}: links to {target}, but there is no such place on that page")
    if "kappa" not in (site / "searchindex.js").read_text(encoding="utf-8"):
        faults.append("searchindex.js: does not find kappa")
    print(f"read {len(pages)} pages")
    return faults


class Silent(SimpleHTTPRequestHandler):
    """A server of files that prints nothing."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def look(site: Path) -> list[str]:
    """Return the faults that a browser shows, on the host that serves the site and no other."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("no look at the pages: playwright is not installed")
        return []
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser_path is None:
        print("no look at the pages: there is no Chromium on this system")
        return []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"http://127.0.0.1:{server.server_port}/"
    names = [
        path.relative_to(site).with_suffix("").as_posix() for path in [*site.glob("*.html"), *site.glob("*/*.html")]
    ]
    names = [name for name in names if name not in LISTS and not name.startswith(("api/", "_"))]
    names = [*REFERENCE, *sorted(names)]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        faults = [fault for scheme in SCHEMES for fault in visit(browser, host, names, scheme)]
        faults += search(browser, host)
        browser.close()
    server.shutdown()
    print(f"looked at {len(names)} pages, at widths of {WIDTHS} px, in {SCHEMES}")
    return faults


def visit(browser, host: str, names: list[str], scheme: str) -> list[str]:  # noqa: ANN001 Playwright's
    """Return the faults of these pages in one colour scheme, at all widths."""
    faults: list[str] = []
    context = browser.new_context(color_scheme=scheme)
    tab, where = context.new_page(), ""
    tab.on("console", lambda said: faults.append(f"{where}: {said.text}") if said.type == "error" else None)
    tab.on("pageerror", lambda error: faults.append(f"{where}: {error}"))
    tab.on(
        "request", lambda sent: None if sent.url.startswith((host, "data:")) else faults.append(f"{where}: {sent.url}")
    )
    for name in names:
        where = f"{name}, {scheme}"
        tab.goto(f"{host}{name}.html")
        tab.evaluate("window.MathJax?.startup?.promise")
        raw = tab.evaluate(
            "document.querySelectorAll('.math').length - document.querySelectorAll('mjx-container').length"
        )
        if raw > 0 or tab.locator("mjx-merror").count():
            faults.append(f"{where}: formulas that are not typeset")
        for width in WIDTHS:
            tab.set_viewport_size({"width": width, "height": 900})
            over = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if over > 0:
                faults.append(f"{where}: {over} px wider than a window of {width} px")
    context.close()
    return faults


def search(browser, host: str) -> list[str]:  # noqa: ANN001 Playwright's
    """Return a fault if the search page does not find kappa."""
    tab = browser.new_page()
    tab.goto(f"{host}search.html?q=kappa")
    try:
        tab.wait_for_selector("#search-results li a", timeout=10_000)
    except Exception:  # noqa: BLE001  Playwright's own class of timeouts
        return ["search.html: does not find kappa"]
    return []


def main() -> int:
    """Print all faults, and return 1 if there is one."""
    site = Path(sys.argv[1]).resolve()
    faults = read(site) + look(site)
    print("\n".join(faults) or "no fault")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
