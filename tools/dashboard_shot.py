"""Save a picture of a page of the dashboard: `dashboard_shot.py URL OUT.png`."""

import argparse
import shutil

from playwright.sync_api import sync_playwright

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")


def shoot(url: str, out: str) -> None:
    """Open the page in Chromium, let it draw, and save what a window of 1440 by 1000 shows."""
    with sync_playwright() as playwright:
        executable = shutil.which("chromium") or "/usr/bin/chromium"
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.goto(url)
        # Its pages poll for ever, so "no more requests" never comes; the graph is drawn within this time.
        page.wait_for_timeout(5000)
        page.screenshot(path=out)
        browser.close()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("out")
    options = parser.parse_args()
    shoot(options.url, options.out)


if __name__ == "__main__":
    main()
