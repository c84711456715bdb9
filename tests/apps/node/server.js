'use strict';
// A small shop of an application: items, orders, health. It works; and it breaks on purpose when the file named by FAULTS
// says so, so that each fault is one that real applications have. The file is JSON and is read again when it changes:
//   {"hang": true}                        accepts, never answers (its health neither, unless health is given)
//   {"spin": true}                        a busy loop: the event loop is gone
//   {"spin_ms": 6000}                     the same, once, for a while
//   {"slow": {"path": "/report", "ms": 9000}}   one path is slow
//   {"blips": {"every_ms": 200, "ms": 80}}      the event loop stalls again and again, as by garbage collection
//   {"leak_mb_s": 200}                    memory grows
//   {"leak_fds": true}                    descriptors are opened and never closed
//   {"exit": 3} {"throw": "text"} {"signal": "SIGSEGV"}   it ends so
//   {"answer": {"status": 503, "body": "...", "log": "..."}}   answers so, /health aside; with "path" only there
//   {"health": {"status": 503, "body": "...", "ms": 0}}    only its health
//   {"header_bytes": 65536}               an answer's header of that size
//   {"header_line": "no colon"}           an answer's header has this line in it, as it is
//   {"close": "before" | "half" | "reset"}   closes the connection instead of an answer, in the middle, or abruptly
//   {"write": "/path/of/file"}            each request writes 16 KiB to that file before its answer
//   {"log": ["line", ...]}                only writes these lines into its log
// Settings by environment: PORT, BIND, LISTEN_DELAY_MS, KEEP_ALIVE_MS, REAP_IDLE_MS, BACKLOG, WORK_MS, HEALTH_MS, LOG, FAULTS,
// NAME, LEADER (its health tells whether it leads: true or false), SOCKET (it listens there instead), and CERTIFICATE (a file with
// certificate and key: it speaks TLS).

const fs = require('fs');
const http = require('http');
const https = require('https');

const env = process.env;
const name = env.NAME || 'app';
const logFile = env.LOG ? fs.openSync(env.LOG, 'a') : 1;
let faults = {};
const kept = [];

function log(level, text) {
  fs.writeSync(logFile, `${new Date().toISOString()} ${level} ${name}[${process.pid}]: ${text}\n`);
}

function busy(ms) {
  const until = Date.now() + ms;
  while (Date.now() < until) ;
}

// Needs so much of the CPU's own time, so that a quota slows it as it slows real work.
function work(ms) {
  const used = () => { const { user, system } = process.cpuUsage(); return user + system; };
  const until = used() + ms * 1000;
  while (used() < until) ;
}

function leak(mib) {
  for (let i = 0; i < mib; i++) kept.push(Buffer.alloc(1 << 20, kept.length % 251));
}

function leakDescriptors() {
  try {
    for (;;) kept.push(fs.openSync('/dev/null', 'r'));
  } catch (fault) {
    log('ERROR', `${fault.code}: too many open files, open '/dev/null'`);
  }
}

// Closes connections that were idle for REAP_IDLE_MS, as connection reapers of many frameworks do: by the clock, without a look
// at what may have come in meanwhile.
const idleSince = new Map();
function reap() {
  const before = Date.now() - Number(env.REAP_IDLE_MS);
  for (const [socket, since] of idleSince) if (since <= before) socket.destroy();
}

let leaking;
let blipping;
function apply(next) {
  faults = next;
  if (next.log) next.log.forEach((line) => fs.writeSync(logFile, line + '\n'));
  clearInterval(leaking);
  clearInterval(blipping);
  if (next.leak_mb_s) leaking = setInterval(() => leak(next.leak_mb_s / 10), 100);
  if (next.blips) blipping = setInterval(() => { busy(next.blips.ms); reap(); }, next.blips.every_ms);
  if (next.leak_fds) leakDescriptors();
  if (!next.leak_fds && kept.length) while (typeof kept[kept.length - 1] === 'number') fs.closeSync(kept.pop());
  if (next.exit !== undefined) {
    log('FATAL', `giving up: exit code ${next.exit}`);
    process.exit(next.exit);
  }
  if (next.throw) setImmediate(() => { throw new Error(next.throw); });
  if (next.signal) process.kill(process.pid, next.signal);
  if (next.spin) for (;;) ;
  if (next.spin_ms) busy(next.spin_ms);
}

let seen = '';
function look() {
  let text = '';
  try { text = fs.readFileSync(env.FAULTS, 'utf8'); } catch (fault) { if (fault.code === 'EMFILE') return; }
  if (text === seen) return;
  seen = text;
  apply(text ? JSON.parse(text) : {});
}

function answer(res, status, body, headers) {
  res.writeHead(status, { 'content-type': 'application/json', ...headers });
  res.end(body + '\n');
}

function health(req, res) {
  const fault = faults.health || {};
  setTimeout(() => {
    const status = fault.status || 200;
    if (status >= 500) log('ERROR', `health: ${fault.body}`);
    const leads = env.LEADER ? `,"leader":${env.LEADER}` : '';
    answer(res, status, fault.body || `{"status":"ok"${leads}}`);
  }, fault.ms || Number(env.HEALTH_MS || 0));
}

function close(req, res, how) {
  log('ERROR', `handler of ${req.method} ${req.url.split('?')[0]}: connection given up`);
  if (how === 'reset') return req.socket.resetAndDestroy();
  if (how === 'half') {
    res.writeHead(200, { 'content-length': '100000' });
    return res.write('half', () => req.socket.destroy());
  }
  req.socket.end();
}

// An answer put together by hand, as middleware does that passes lines on which it got from elsewhere.
function raw(req, line) {
  req.socket.write(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n${line}\r\nContent-Length: 3\r\n\r\n{}\n`);
}

// Whether its order could be written down.
function written(req, res) {
  try {
    fs.appendFileSync(faults.write, Buffer.alloc(16 << 10, 'o'));
    return true;
  } catch (fault) {
    log('ERROR', `${req.method} ${req.url.split('?')[0]}: ${fault.message}`);
    answer(res, 500, '{"error":"order not kept"}');
    return false;
  }
}

function handle(req, res) {
  const path = req.url.split('?')[0];
  req.resume();
  if (path === '/health' && (faults.health || !faults.hang)) return health(req, res);
  if (faults.hang) return;
  if (path.startsWith('/no-such')) return answer(res, 404, '{"error":"no such page"}');
  if (faults.close && path !== '/health') return close(req, res, faults.close);
  if (faults.header_line && path !== '/health') return raw(req, faults.header_line);
  if (faults.header_bytes && path !== '/health') return answer(res, 200, '{}', { 'set-cookie': 'basket=' + 'x'.repeat(faults.header_bytes) });
  if (faults.answer && path.startsWith(faults.answer.path || '/')) {
    if (faults.answer.log) log('ERROR', faults.answer.log);
    return answer(res, faults.answer.status, faults.answer.body || '{}');
  }
  if (faults.write && !written(req, res)) return;
  const slow = faults.slow && path.startsWith(faults.slow.path) ? faults.slow.ms : 0;
  if (env.WORK_MS) work(Number(env.WORK_MS));
  req.on('end', () => setTimeout(() => answer(res, 200, JSON.stringify({ from: name, path })), slow));
}

process.on('SIGTERM', () => {
  log('INFO', 'SIGTERM: closing');
  server.close(() => process.exit(0));
  server.closeAllConnections();
});

const pem = env.CERTIFICATE && fs.readFileSync(env.CERTIFICATE);
const server = pem ? https.createServer({ cert: pem, key: pem }, handle) : http.createServer(handle);
if (env.REAP_IDLE_MS) {
  server.on('connection', (socket) => {
    idleSince.set(socket, Date.now());
    socket.on('close', () => idleSince.delete(socket));
  });
  server.on('request', (req, res) => {
    idleSince.delete(req.socket);
    res.on('finish', () => { if (!req.socket.destroyed) idleSince.set(req.socket, Date.now()); });
  });
  setInterval(reap, 50);
}
server.keepAliveTimeout = Number(env.KEEP_ALIVE_MS || 75000);
server.headersTimeout = 60000;
if (env.FAULTS) {
  setInterval(look, 50);
}
// A socket that a dead process left behind is in the way, as everywhere.
function place() {
  if (!env.SOCKET) return { port: Number(env.PORT || 3000), host: env.BIND || '0.0.0.0', backlog: Number(env.BACKLOG || 511) };
  fs.rmSync(env.SOCKET, { force: true });
  return { path: env.SOCKET, writableAll: true, readableAll: true };
}
setTimeout(() => {
  server.listen(place(), () => log('INFO', 'listening'));
}, Number(env.LISTEN_DELAY_MS || 0));
log('INFO', 'starting');
