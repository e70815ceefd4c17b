"""A headless Chromium over its debugging pipe, by the standard library: pages as a reader sees them."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage",
         "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe")  # fmt: skip
PATIENCE = 150  # seconds for one answer, also on a busy machine


class Browser:
    """One page of a running browser.

    Attributes
    ----------
    messages : list of str
        What the console, uncaught errors and the content security policy said.
    requests : list of str
        Addresses that were asked for, data addresses not counted.

    """

    def __init__(self, process, write, read):
        self.process, self._write, self._read = process, write, read
        self._buffer, self._number, self.messages, self.requests = b"", 0, [], []
        (target,) = [t for t in self._ask("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        self.session = self._ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")
        self("Performance.enable", timeDomain="threadTicks")

    def __call__(self, method, **parameters):
        """Send a command to the page and give its answer."""
        return self._ask(method, self.session, **parameters)

    def _ask(self, method, session=None, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _receive(self, patience=PATIENCE):
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], patience)[0]:
                raise TimeoutError(f"the browser was silent for {patience} s")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise RuntimeError("the browser has gone")
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method, about):
        if method == "Runtime.consoleAPICalled":
            self.messages.append(" ".join(str(arg.get("value", arg.get("description"))) for arg in about["args"]))
        elif method == "Runtime.exceptionThrown":
            details = about["exceptionDetails"]
            self.messages.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded":
            self.messages.append(about["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not about["request"]["url"].startswith("data:"):
            self.requests.append(about["request"]["url"])

    def open(self, path, width=1400, height=900, scale=1, mobile=False):
        """Open a file in a window of this size; seconds until it was loaded and its script had run."""
        self.messages.clear()
        self.requests.clear()
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)
        start = time.perf_counter()
        self("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete'")
        return time.perf_counter() - start

    def js(self, expression):
        """Value of an expression of JavaScript in the page; promises are awaited."""
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description", answer))
        return answer["result"].get("value")

    def wait(self, expression, patience=PATIENCE):
        """Wait until an expression is true; seconds that took."""
        start = time.perf_counter()
        while not self.js(expression):
            if time.perf_counter() - start > patience:
                raise TimeoutError(f"never true within {patience} s: {expression}; the page said {self.messages}")
            time.sleep(0.01)
        return time.perf_counter() - start

    def work(self):
        """Processor time that the page's main thread has spent since it was opened [s]: the same on a busy machine."""
        metrics = {metric["name"]: metric["value"] for metric in self("Performance.getMetrics")["metrics"]}
        return metrics["TaskDuration"]

    def click(self, x, y):
        """Press and release the left button at a place of the window [pixel]."""
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def drag(self, start, stop, button="left", modifiers=0):
        """Press a button at a place of the window, pull it to another and release it [pixel]; modifiers: 8 is Shift."""
        held = {"button": button, "buttons": {"left": 1, "right": 2}[button], "modifiers": modifiers, "clickCount": 1}
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", stop), ("mouseReleased", stop)):
            self("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)

    def double_click(self, x, y):
        """Click twice at a place of the window [pixel]."""
        for n in (1, 2):
            for kind in ("mousePressed", "mouseReleased"):
                self("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=n)

    def press(self, key, modifiers=0):
        """Press and release a key by its name, such as ``ArrowLeft`` or ``Tab``, or a letter."""
        codes = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "PageUp": 33, "PageDown": 34,
                 "Tab": 9, "Enter": 13}  # fmt: skip
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, modifiers=modifiers,
                 windowsVirtualKeyCode=codes.get(key) or ord(key.upper()), **text)  # fmt: skip

    def picture(self, path, whole=False):
        """Write what the window shows as a PNG."""
        shot = self("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def printed(self):
        """Return the page as a PDF, as bytes."""
        return base64.b64decode(self("Page.printToPDF", printBackground=True)["data"])


@contextmanager
def browser():
    """Start a browser, give its page, and end it."""
    (in_read, in_write), (out_read, out_write) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # the browser reads commands from descriptor 3 and writes answers to 4, whatever ours are called
        shell = f'exec 3<&{in_read} 4>&{out_write}; exec "$0" "$@"'
        process = subprocess.Popen(
            ["/bin/bash", "-c", shell, CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(in_read, out_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(in_read)
        os.close(out_write)
        try:
            yield Browser(process, in_write, out_read)
        finally:
            os.close(in_write)
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(out_read)
