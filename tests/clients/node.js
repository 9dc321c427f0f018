// Runs Node's wechatpay-axios-plugin against the sandbox, with the public key and with a platform certificate.
//
//     node node.js SANDBOX
//
// SANDBOX is the program that `cargo build --example sandbox` builds. The library is unmodified, except for the host.

const assert = require('assert');
const { spawn } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const readline = require('readline');

const { Aes, Formatter, Rsa, Wechatpay } = require('wechatpay-axios-plugin');

const CONTRACTS = 'v3/password-exempt-contract/contracts';
let count = 0;

const main = async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sandbox-'));
  const child = spawn(process.argv[2], ['--keys', folder]);
  try {
    const [line] = await new Promise((resolve) => readline.createInterface(child.stdout).once('line', (...lines) => resolve(lines)));
    const sandbox = JSON.parse(line);
    await checkMode(sandbox, 'publickey', sandbox.public_key_id, sandbox.public_key);
    await order(sandbox, 'public-key', { offered: false });
    await checkMode(sandbox, 'certificate', sandbox.certificate_serial_no, sandbox.certificate);
  } finally {
    child.kill();
    fs.rmSync(folder, { recursive: true });
  }
  console.log(`wechatpay-axios-plugin: ${count} passed, 0 failed`);
};

const checkMode = async (sandbox, mode, keyId, keyFile) => {
  const key = fs.readFileSync(keyFile, 'utf8');
  const settings = {
    baseURL: `${sandbox.url}/`,
    mchid: sandbox.mchid,
    serial: sandbox.merchant_serial_no,
    privateKey: fs.readFileSync(sandbox.merchant_key, 'utf8'),
    certs: { [keyId]: key },
    headers: { 'Wechatpay-Serial': keyId },
  };
  const { v3 } = new Wechatpay(settings);
  const contracts = v3.passwordExemptContract.contracts;
  const code = `node${mode}`;
  const query = () => contracts.serviceId['12535'].outContractCode[code].get();

  const missing = await refusal(query());
  check(mode, 'a query of an unknown contract is refused', missing, [404, 'RESOURCE_NOT_EXISTS']);
  const session = await contracts.ecommerce.preEntrustSign.miniProgram.post(contract(code));
  check(mode, 'a contract is pre-signed', session.data.out_contract_code, code);
  const wrong = await refusal(contracts.ecommerce.preEntrustSign.miniProgram.post({ ...contract(code), notify_url: 'http://yourapp.com/notify' }));
  check(mode, 'a wrong field is refused', wrong, [400, 'PARAM_ERROR']);

  // A merchant cannot choose the key that signs notifications, so this tells the sandbox which.
  await order(sandbox, 'sign-with', { key: keyId });
  const { contract_id: contractId } = await order(sandbox, 'sign', { out_contract_code: code });
  await order(sandbox, 'sign-with', {});
  const { data } = await query();
  check(mode, 'the signed contract is found', [data.contract_state, data.contract_id], ['SIGNED', contractId]);

  const sent = (await order(sandbox, 'notifications')).pop();
  const headers = Object.fromEntries(sent.headers);
  const verify = (body) => Rsa.verify(
    Formatter.response(headers['Wechatpay-Timestamp'], headers['Wechatpay-Nonce'], body),
    headers['Wechatpay-Signature'],
    Rsa.from(key, Rsa.KEY_TYPE_PUBLIC),
  );
  check(mode, 'the notification is signed with the key', [headers['Wechatpay-Serial'], verify(sent.body)], [keyId, true]);
  check(mode, 'a changed notification is refused', verify(`${sent.body} `), false);
  const { ciphertext, nonce, associated_data: aad } = JSON.parse(sent.body).resource;
  const event = JSON.parse(Aes.AesGcm.decrypt(ciphertext, fs.readFileSync(sandbox.api_v3_key, 'utf8'), nonce, aad));
  check(mode, 'the notification is decrypted', event.out_contract_code, code);

  await order(sandbox, 'fault', { fault: 'signature', signing: 'wrong' });
  const refused = await query().then(() => 'accepted', (error) => error.code);
  check(mode, 'a wrong signature is refused', refused, 'EV3_RES_HEADER_SIGNATURE_DIGEST');

  const stranger = new Wechatpay({ ...settings, serial: '0'.repeat(40) });
  const unknown = await refusal(stranger.v3.passwordExemptContract.contracts.serviceId['12535'].outContractCode[code].get());
  check(mode, 'an unknown merchant certificate is refused', unknown, [401, 'SIGN_ERROR']);
};

const order = async (sandbox, action, body) => {
  const method = body === undefined ? 'GET' : 'POST';
  const response = await fetch(`${sandbox.url}/sandbox/${action}`, { method, body: JSON.stringify(body) });
  assert.strictEqual(response.status, 200, `${action}: ${await response.clone().text()}`);
  return response.json();
};

const contract = (code) => ({
  appid: 'wxd678efh567hg6787',
  service_id: 12535,
  out_contract_code: code,
  notify_url: 'https://yourapp.com/notify',
  contract_display_account: '微信代扣用户A',
  openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o',
});

const refusal = (promise) => promise.then(
  ({ status }) => [status, 'accepted'],
  ({ response: { status, data } }) => [status, data.code],
);

const check = (mode, what, found, wanted) => {
  assert.deepStrictEqual(found, wanted, `${mode}: ${what}: found ${JSON.stringify(found)}, wanted ${JSON.stringify(wanted)}`);
  count += 1;
};

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
