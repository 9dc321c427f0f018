#!/usr/bin/env python3
"""The life of an order in the sandbox, with Python's standard library and openssl alone.

    order_life.py URL MCHID SERIAL_NO PRIVATE_KEY_PEM PLATFORM_PUBLIC_KEY_PEM

Pre-sign, sign, order, pay, query, refund in part and in whole, order and close, terminate. Each request is signed, each
response is verified, and nothing of wechatpay-contract is used.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

URL, MCHID, SERIAL_NO, KEY, PLATFORM_KEY = sys.argv[1:]
CODE, NUMBER, OPENID, APPID = "pythoncode1", "python-0001", "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "wxd678efh567hg6787"


def sign(message):
    command = ["openssl", "dgst", "-sha256", "-sign", KEY]
    return base64.b64encode(subprocess.run(command, input=message, stdout=subprocess.PIPE, check=True).stdout).decode()


def verify(headers, body):
    message = f"{headers['Wechatpay-Timestamp']}\n{headers['Wechatpay-Nonce']}\n".encode() + body + b"\n"
    with tempfile.NamedTemporaryFile() as signature:
        signature.write(base64.b64decode(headers["Wechatpay-Signature"]))
        signature.flush()
        command = ["openssl", "dgst", "-sha256", "-verify", PLATFORM_KEY, "-signature", signature.name]
        subprocess.run(command, input=message, stdout=subprocess.DEVNULL, check=True)


def send(request):
    try:
        response = urllib.request.urlopen(request, timeout=10)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return response.status, response.headers, response.read()


def call(method, path, body=None, wanted=200):
    """Sends a signed request and returns the JSON of the verified response."""
    text = "" if body is None else json.dumps(body, ensure_ascii=False)
    timestamp, nonce = str(int(time.time())), os.urandom(16).hex()
    signature = sign(f"{method}\n{path}\n{timestamp}\n{nonce}\n{text}\n".encode())
    authorization = (
        f'WECHATPAY2-SHA256-RSA2048 mchid="{MCHID}",nonce_str="{nonce}",signature="{signature}",'
        f'timestamp="{timestamp}",serial_no="{SERIAL_NO}"'
    )
    headers = {"Authorization": authorization, "Accept": "application/json", "User-Agent": "order_life.py"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(URL + path, text.encode() or None, headers, method=method)
    status, headers, content = send(request)
    verify(headers, content)
    assert status == wanted, (path, status, content)
    return json.loads(content) if content else None


def control(path, body=None):
    """Acts as the user or as WeChat Pay."""
    data = None if body is None else json.dumps(body).encode()
    status, _, content = send(urllib.request.Request(URL + "/sandbox/" + path, data))
    assert status == 200, (path, status, content)
    return json.loads(content)


def place(number, contract_id):
    return call("POST", "/v3/pay/transactions/jsapi-with-contract", {
        "appid": APPID, "mchid": MCHID, "description": "Image形象店", "out_trade_no": number,
        "notify_url": "https://yourapp.com/paid", "amount": {"total": 100}, "payer": {"openid": OPENID},
        "contract_info": {"password_free_contract_id": contract_id},
    })["prepay_id"]


def order(number):
    return call("GET", f"/v3/pay/transactions/out-trade-no/{number}?mchid={MCHID}")


def refund(number, amount):
    return call("POST", "/v3/refund/domestic/refunds", {
        "out_trade_no": NUMBER, "out_refund_no": number, "amount": {"refund": amount, "total": 100, "currency": "CNY"},
    })


CONTRACT = f"/v3/password-exempt-contract/contracts/service-id/12535/out-contract-code/{CODE}"

call("POST", "/v3/password-exempt-contract/contracts/normal/pre-entrust-sign/mini-program", {
    "appid": APPID, "service_id": 12535, "out_contract_code": CODE, "notify_url": "https://yourapp.com/notify",
    "contract_display_account": "微信代扣用户A", "openid": OPENID,
})
contract_id = control("sign", {"out_contract_code": CODE})["contract_id"]
print("signed", call("GET", CONTRACT)["contract_state"])

place(NUMBER, contract_id)
assert order(NUMBER)["trade_state"] == "NOTPAY"
transaction_id = control("pay", {"out_trade_no": NUMBER})["transaction_id"]
paid = order(NUMBER)
assert (paid["trade_state"], paid["amount"]["payer_total"]) == ("SUCCESS", 100), paid
assert call("GET", f"/v3/pay/transactions/id/{transaction_id}?mchid={MCHID}") == paid
print("paid", transaction_id)

assert refund("part|1", 40)["status"] == "PROCESSING"
assert refund("part|1", 40)["status"] == "PROCESSING", "the same number refunds once"
control("refund", {"out_refund_no": "part|1", "status": "SUCCESS"})
assert call("GET", "/v3/refund/domestic/refunds/part%7C1")["status"] == "SUCCESS"
refund("rest", 60)
control("refund", {"out_refund_no": "rest", "status": "ABNORMAL"})
control("refund", {"out_refund_no": "rest", "status": "SUCCESS"})
assert order(NUMBER)["trade_state"] == "REFUND"
print("refunded", len(control("refunds")))

place("python-0002", contract_id)
call("POST", "/v3/pay/transactions/out-trade-no/python-0002/close", {"mchid": MCHID}, wanted=204)
print("closed", order("python-0002")["trade_state"])

call("POST", f"{CONTRACT}/terminate", {"contract_termination_remark": "用户解约"})
events = [notification["event_type"] for notification in control("notifications")]
print("notified", " ".join(events))
