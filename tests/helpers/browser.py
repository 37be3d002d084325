"""A folder of pages in headless Chromium: a page of ours opens each of them in a frame and reports what it sees."""

import functools
import http.server
import json
import queue
import subprocess
import tempfile
import threading

VISIT = """<!doctype html><title>visit</title><body><script>
const pages = PAGES, word = WORD, seen = {};
const pause = ms => new Promise(done => setTimeout(done, ms));

async function open(address) {
  const frame = document.createElement("iframe");
  frame.style = "width: 1200px; height: 900px";
  const errors = [], loaded = new Promise(done => frame.onload = done);
  frame.src = address;
  document.body.append(frame);
  await loaded;
  frame.contentWindow.onerror = message => errors.push(String(message));
  return [frame, frame.contentDocument, errors];
}

const size = element => { const box = element.getBoundingClientRect(); return [box.width, box.height]; };

async function look(address) {
  const [frame, page, errors] = await open(address);
  const text = page.querySelector("article");
  const answer = {
    title: page.title,
    heading: text && text.querySelector("h1") ? size(text.querySelector("h1")) : [0, 0],
    words: text ? text.innerText.split(/\\s+/).length : 0,
    formulas: [...page.querySelectorAll("math")].map(size),
    images: [...page.querySelectorAll("article img")].map(image => [image.src, image.naturalWidth]),
    links: [...page.querySelectorAll("a[href]")].map(link => link.href),
    ids: [...page.querySelectorAll("[id]")].map(element => element.id),
    loaded: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name),
    errors,
  };
  frame.remove();
  return answer;
}

async function search(address) {
  const [frame, page] = await open(address);
  const field = page.querySelector("input.md-search__input");
  for (let tries = 0; tries < 100; tries++) {
    field.focus();
    field.value = word;
    field.dispatchEvent(new KeyboardEvent("keyup", {bubbles: true, key: "t"}));
    field.dispatchEvent(new Event("input", {bubbles: true}));
    await pause(200);
    const found = [...page.querySelectorAll(".md-search-result__link")].map(link => link.href);
    if (found.length) return found;
  }
  return [];
}

(async () => {
  for (const address of pages) seen[address] = await look(address);
  const found = await search(pages[0]);
  await fetch("/seen", {method: "POST", body: JSON.stringify({seen, found})});
})();
</script>"""


class Pages(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and the page that visits it, and takes its report."""

    def __init__(self, *args, visit, reports, **options):
        self.visit, self.reports = visit, reports
        super().__init__(*args, **options)

    def do_GET(self):
        if self.path != "/visit.html":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self.visit.encode())

    def do_POST(self):
        self.reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


def visit(chromium, folder, pages, word, seconds=300):
    """What Chromium shows of pages of a folder, and the addresses that the search finds for a word.

    Returns:
        {"seen": {page: {"title": ..., "heading": (width, height), ...}}, "found": [address]} and the server's address.
    """
    reports = queue.Queue()
    page = VISIT.replace("PAGES", json.dumps(pages)).replace("WORD", json.dumps(word))
    handler = functools.partial(Pages, visit=page, reports=reports, directory=str(folder))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        tempfile.TemporaryDirectory() as profile,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
        command = [chromium, *flags, "--remote-debugging-port=0", f"{address}/visit.html"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return reports.get(timeout=seconds), address
        finally:
            process.terminate()
            process.wait()
            server.shutdown()
