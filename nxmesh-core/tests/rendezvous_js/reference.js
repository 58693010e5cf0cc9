// What the protocols of rendezvous have clients compute, written anew in JavaScript by the words of
// the contract. Reads one JSON object a line, and answers each with one line of JSON.
'use strict';

const crypto = require('node:crypto');
const readline = require('node:readline');

const SEEDS = 3;

function hash(peer, seed) {
  let h = (0x811c9dc5 ^ seed) >>> 0;
  for (let i = 0; i < peer.length; i++) {
    h ^= peer.charCodeAt(i);
    // h * 0x01000193, as the sum of the powers of two that it is made of.
    h = (h + (h << 1) + (h << 4) + (h << 7) + (h << 8) + (h << 24)) >>> 0;
  }
  return h >>> 0;
}

function bitsOf(peer, bytes) {
  return Array.from({ length: SEEDS }, (_, seed) => hash(peer, seed) % (bytes.length * 8));
}

function filterOf(peers, size) {
  const bytes = new Uint8Array(size);
  for (const peer of peers) {
    for (const bit of bitsOf(peer, bytes)) bytes[Math.floor(bit / 8)] |= 1 << (bit % 8);
  }
  return btoa(String.fromCharCode(...bytes));
}

function isIn(filter, peer) {
  const bytes = Uint8Array.from(atob(filter), (it) => it.charCodeAt(0));
  if (bytes.length === 0) return false;
  return bitsOf(peer, bytes).every((bit) => (bytes[Math.floor(bit / 8)] & (1 << (bit % 8))) !== 0);
}

function canonical(value, depth = 0) {
  if (depth > 100) throw new Error('too deep');
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map((it) => canonical(it, depth + 1)).join(',')}]`;
  const member = (key) => `${JSON.stringify(key)}:${canonical(value[key], depth + 1)}`;
  return `{${Object.keys(value).sort().map(member).join(',')}}`;
}

function seal(key, peer, iv) {
  const cipher = crypto.createCipheriv('aes-256-gcm', Buffer.from(key, 'hex'), iv);
  const text = Buffer.concat([cipher.update(peer, 'utf8'), cipher.final()]);
  return Buffer.concat([iv, text, cipher.getAuthTag()]).toString('base64');
}

function open(key, secret) {
  const bytes = Buffer.from(secret, 'base64');
  const cipher = crypto.createDecipheriv('aes-256-gcm', Buffer.from(key, 'hex'), bytes.subarray(0, 12));
  cipher.setAuthTag(bytes.subarray(-16));
  return Buffer.concat([cipher.update(bytes.subarray(12, -16)), cipher.final()]).toString('utf8');
}

function sign(seed, message) {
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.from(seed, 'hex')]);
  const key = crypto.createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const spki = crypto.createPublicKey(key).export({ format: 'der', type: 'spki' });
  return {
    key: spki.subarray(-32).toString('hex'),
    signature: crypto.sign(null, Buffer.from(message, 'utf8'), key).toString('base64'),
  };
}

const answers = {
  filter: ({ peers, size, others }) => {
    const filter = filterOf(peers, size);
    return { filter, in: others.map((it) => isIn(filter, it)) };
  },
  offer: ({ sdp, topics }) => {
    const content = JSON.stringify({ sdp, topics: [...topics].sort() });
    return crypto.createHash('sha256').update(content, 'utf8').digest('hex');
  },
  canonical: ({ text }) => canonical(JSON.parse(text)),
  atob: ({ text }) => {
    try {
      return Buffer.from(atob(text), 'latin1').toString('hex');
    } catch {
      return null;
    }
  },
  credential: ({ key, peer, secret }) => ({
    opened: open(key, secret),
    made: seal(key, peer, crypto.randomBytes(12)),
  }),
  signature: ({ seed, message }) => sign(seed, message),
  turn: ({ key, username }) => crypto.createHmac('sha1', key).update(username, 'utf8').digest('base64'),
};

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const question = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(answers[question.what](question))}\n`);
});
