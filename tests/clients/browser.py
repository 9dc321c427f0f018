"""Opens the sandbox's page in headless Chromium, and checks what appears on it and what a click does.

    python3 browser.py SANDBOX [FOLDER]

SANDBOX is the program that `cargo build --example sandbox` builds. Chromium is driven through chromedriver's HTTP, and
the merchant signs with the openssl command. Pictures of the page are written to FOLDER.
"""

import base64
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

PRE_SIGN = "/v3/password-exempt-contract/contracts/ecommerce/pre-entrust-sign/mini-program"
ORDER = "/v3/pay/partner/transactions/jsapi-with-contract"
CODE = "browser1"
PATIENCE = 20
count = 0


def main():
    with tempfile.TemporaryDirectory() as folder:
        sandbox = subprocess.Popen([sys.argv[1], "--keys", folder], stdout=subprocess.PIPE)
        driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        session = None
        try:
            description = json.loads(sandbox.stdout.readline())
            session = Browser(port_of(driver))
            run(Merchant(description), session)
        finally:
            if session:
                session.quit()
            for process in (driver, sandbox):
                process.kill()
                process.wait()
    print(f"browser: {count} passed, 0 failed")


def run(merchant, browser):
    received = []
    merchant.control("notify-url", {"url": receiver(received)})
    browser.open(merchant.url + "/sandbox/")
    check("the page is empty", browser.text("#contracts"), "none yet 暂无")

    check("the contract is pre-signed", merchant.post(PRE_SIGN, contract()), 200)
    browser.wait_for("#contracts .state", "PRE_SIGNED 待签约")
    browser.wait_for("#requests .state", "200")
    browser.click(f"[data-id={CODE}] [name=sign]")
    browser.wait_for("#contracts .state", "SIGNED 已签约")
    browser.wait_for("#notifications .state", "replies 应答 204")
    check("the notification arrived", len(received), 1)

    contract_id = merchant.control("contracts")[0]["contract_id"]
    check("an order is placed", merchant.post(ORDER, order(contract_id)), 200)
    browser.wait_for("#orders .state", "NOTPAY 未支付")
    browser.click("[name=pay]")
    browser.wait_for("#orders .state", "SUCCESS 支付成功")

    browser.click("#inject")
    browser.wait_for("#injected", "injected 已注入：503 SERVICE_UNAVAILABLE 服务不可用")
    check("the fault comes", merchant.post(PRE_SIGN, contract()), 503)
    browser.wait_for("#requests .state", "503")
    browser.click("#requests summary")
    for width in (400, 1200):
        browser.picture(width)
        check(f"the page is not wider than {width} pixels", browser.run("return document.body.scrollWidth <= innerWidth"), True)

    browser.click(f"[data-id={CODE}] [name=terminate]")
    browser.wait_for("#contracts .state", "TERMINATED 已解约")
    browser.wait_for("#problem", "")
    check("an open message stays open", browser.run("return document.querySelectorAll('#requests [open]').length"), 1)
    check("nothing was blocked or failed", [line for line in browser.log() if line["level"] == "SEVERE"], [])

    inline = "const s = document.createElement('script'); s.textContent = 'window.ran = true'; document.body.append(s); return window.ran ?? null"
    check("a script without the nonce does not run", browser.run(inline), None)
    foreign = "return fetch(arguments[0]).then(() => 'fetched', () => 'blocked')"
    check("another origin cannot be called", browser.run(foreign, receiver([])), "blocked")


class Merchant:
    def __init__(self, description):
        self.description = description
        self.url = description["url"]

    def control(self, action, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.url}/sandbox/{action}", data) as response:
            return json.load(response)

    def post(self, path, body):
        """Sends a signed request and returns the status."""
        data = json.dumps(body).encode()
        now, nonce = int(time.time()), "593BEC0C930BF1AFEB40B4A08C8FB242"
        message = f"POST\n{path}\n{now}\n{nonce}\n".encode() + data + b"\n"
        command = ["openssl", "dgst", "-sha256", "-sign", self.description["merchant_key"]]
        signature = base64.b64encode(subprocess.run(command, input=message, capture_output=True, check=True).stdout).decode()
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": "browser.py",
            "Authorization": f'WECHATPAY2-SHA256-RSA2048 mchid="{self.description["mchid"]}",nonce_str="{nonce}",'
            f'signature="{signature}",timestamp="{now}",serial_no="{self.description["merchant_serial_no"]}"',
        }
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers)) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code


class Browser:
    """A session of chromedriver."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}/session"
        options = {
            "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1200,900"],
        }
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        created = self.command("POST", "", {"capabilities": {"alwaysMatch": capabilities}})
        self.url += "/" + created["sessionId"]

    def command(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            sys.exit(f"{method} {path} {body}: {error.read().decode()[:500]}")

    def open(self, url):
        self.command("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        return self.command("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.textContent ?? null", selector)

    def wait_for(self, selector, wanted):
        deadline = time.monotonic() + PATIENCE
        while (found := self.text(selector)) != wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        check(selector, found, wanted)

    def click(self, selector):
        element = self.command("POST", "/element", {"using": "css selector", "value": selector})
        self.command("POST", f"/element/{next(iter(element.values()))}/click", {})

    def picture(self, width):
        self.command("POST", "/goog/cdp/execute", {
            "cmd": "Emulation.setDeviceMetricsOverride",
            "params": {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        })
        if len(sys.argv) > 2:
            with open(f"{sys.argv[2]}/page{width}.png", "wb") as file:
                whole = {"cmd": "Page.captureScreenshot", "params": {"captureBeyondViewport": True}}
                file.write(base64.b64decode(self.command("POST", "/goog/cdp/execute", whole)["data"]))

    def log(self):
        return self.command("POST", "/se/log", {"type": "browser"})

    def quit(self):
        self.command("DELETE", "")


def receiver(received):
    """Starts a receiver of notifications and returns its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/notify"


def port_of(driver):
    for line in driver.stdout:
        if "started successfully on port" in line:
            return int(line.rstrip(" .\n").rsplit(" ", 1)[1])
    sys.exit("chromedriver did not start")


def contract():
    return {
        "appid": "wxd678efh567hg6787",
        "service_id": 12535,
        "out_contract_code": CODE,
        "notify_url": "https://yourapp.com/notify",
        "contract_display_account": "微信代扣用户A",
        "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    }


def order(contract_id):
    return {
        "sp_appid": "wxd678efh567hg6787",
        "sp_mchid": "1900000109",
        "sub_mchid": "1900000110",
        "description": "Image形象店-深圳腾大-QQ公仔",
        "out_trade_no": "1217752501201407033233368018",
        "notify_url": "https://yourapp.com/paid",
        "amount": {"total": 100},
        "payer": {"sp_openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
        "contract_info": {"password_free_contract_id": contract_id},
    }


def check(what, found, wanted):
    global count
    if found != wanted:
        sys.exit(f"{what}: found {found!r}, wanted {wanted!r}")
    count += 1


main()
