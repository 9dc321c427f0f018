"""Runs Python's wechatpayv3 against the sandbox, with the public key and with platform certificates.

    python3 python.py SANDBOX

SANDBOX is the program that `cargo build --example sandbox` builds. The library is unmodified, except for the host.
"""

import json
import subprocess
import sys
import tempfile
import urllib.request

from wechatpayv3.core import Core
from wechatpayv3.type import RequestType

CONTRACTS = "/v3/password-exempt-contract/contracts"
PRE_SIGN = CONTRACTS + "/ecommerce/pre-entrust-sign/mini-program"
count = 0


def main():
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([sys.argv[1], "--keys", folder], stdout=subprocess.PIPE)
        try:
            sandbox = json.loads(process.stdout.readline())
            # The gateway is a constant of the library.
            Core._gate_way = property(lambda core: sandbox["url"], lambda core, value: None)
            check_mode(sandbox, "public key", public_key=read(sandbox["public_key"]), public_key_id=sandbox["public_key_id"])
            order(sandbox, "public-key", {"offered": False})
            check_mode(sandbox, "certificate")
        finally:
            process.kill()
            process.wait()
    print(f"wechatpayv3: {count} passed, 0 failed")


def check_mode(sandbox, mode, **public_key):
    core = Core(
        mchid=sandbox["mchid"],
        cert_serial_no=sandbox["merchant_serial_no"],
        private_key=read(sandbox["merchant_key"]),
        apiv3_key=read(sandbox["api_v3_key"]),
        **public_key,
    )
    code = "python" + mode.replace(" ", "")
    target = f"{CONTRACTS}/service-id/12535/out-contract-code/{code}"

    status, body = core.request(target)
    check(mode + ": a query of an unknown contract is refused", (status, json.loads(body)["code"]), (404, "RESOURCE_NOT_EXISTS"))
    status, body = core.request(PRE_SIGN, RequestType.POST, contract(code))
    check(mode + ": a contract is pre-signed", (status, json.loads(body)["out_contract_code"]), (200, code))
    status, body = core.request(PRE_SIGN, RequestType.POST, {**contract(code), "notify_url": "http://yourapp.com/notify"})
    check(mode + ": a wrong field is refused", (status, json.loads(body)["code"]), (400, "PARAM_ERROR"))

    # A merchant cannot choose the key that signs notifications, so this tells the sandbox which.
    order(sandbox, "sign-with", {"key": public_key.get("public_key_id", sandbox["certificate_serial_no"])})
    contract_id = order(sandbox, "sign", {"out_contract_code": code})["contract_id"]
    order(sandbox, "sign-with", {})
    status, body = core.request(target)
    body = json.loads(body)
    check(mode + ": the signed contract is found", (body["contract_state"], body["contract_id"]), ("SIGNED", contract_id))

    sent = order(sandbox, "notifications")[-1]
    headers = dict(sent["headers"])
    event = core.callback(headers, sent["body"])
    check(mode + ": the notification is verified and decrypted", event["resource"]["out_contract_code"], code)
    check(mode + ": a changed notification is refused", core.callback(headers, sent["body"] + " "), None)

    order(sandbox, "fault", {"fault": "signature", "signing": "wrong"})
    try:
        core.request(target)
        refused = None
    except Exception as error:
        refused = str(error)
    check(mode + ": a wrong signature is refused", refused, "failed to verify the signature")

    core._cert_serial_no = "0" * 40
    status, body = core.request(target)
    check(mode + ": an unknown merchant certificate is refused", (status, json.loads(body)["code"]), (401, "SIGN_ERROR"))


def order(sandbox, action, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"{sandbox['url']}/sandbox/{action}", data) as response:
        return json.load(response)


def contract(code):
    return {
        "appid": "wxd678efh567hg6787",
        "service_id": 12535,
        "out_contract_code": code,
        "notify_url": "https://yourapp.com/notify",
        "contract_display_account": "微信代扣用户A",
        "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    }


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def check(what, found, wanted):
    global count
    if found != wanted:
        sys.exit(f"{what}: found {found!r}, wanted {wanted!r}")
    count += 1


main()
