// Signalling: one WebSocket, subprotocol sfu.v1.json (proto3 JSON of proto/sfu/v1/signal.proto).
//
// A lost socket is taken up again by Resume while the server keeps the session; media goes on meanwhile.
// Events: message {kind, body}; state 'open' | 'lost'; resumed (Joined); gone (the session cannot be
// resumed: join anew); left (Left: the server ended it).

import { Emitter } from './emitter.js';

const SUBPROTOCOL = 'sfu.v1.json';
const REPLY_TIMEOUT = 10_000;
const OPEN_TIMEOUT = 5_000;
/** Waits between attempts to reconnect: at once first, since most losses are short. */
const RETRY_DELAYS = [0, 250, 500, 1000, 2000];

/** A request that the server refused, or that got no reply. */
export class SignalError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export class Signal extends Emitter {
  #url;
  #socket = null;
  #nextId = 1;
  #waiting = new Map();
  #session = null;
  #resumeWindow = 30_000;
  #pingInterval = 10_000;
  #pingTimer = 0;
  #awaitedPong = false;
  #ended = false;

  constructor(url) {
    super();
    this.#url = url;
  }

  /** Opens the socket, so that the way is free by the time there is an offer. */
  async open() {
    await this.#open();
  }

  /** Enters a room. Resolves to Joined. */
  async join(join) {
    const joined = await this.request({ join });
    this.#session = joined.session;
    this.#resumeWindow = joined.resumeWindowMs || this.#resumeWindow;
    this.#pingInterval = joined.pingIntervalMs || this.#pingInterval;
    this.#schedulePing();
    return joined;
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Sends one message and resolves to the body of its reply. */
  request(body) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new SignalError('TIMEOUT', 'The server did not answer in time.'));
      }, REPLY_TIMEOUT);
      this.#waiting.set(id, { resolve, reject, timer });
      if (!this.#write({ id, ...body })) this.#settle(id, 'reject', lostError());
    });
  }

  /** Sends one message that needs no reply. False if there is no connection now. */
  send(body) {
    return this.#write(body);
  }

  /** Ends the session. */
  leave(reason) {
    if (this.#ended) return;
    this.#write({ leave: { reason } });
    this.#end();
  }

  /** Tests the connection now, instead of at the next ping. */
  probe() {
    if (!this.#ended && this.#session) this.#ping();
  }

  async #open() {
    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    await new Promise((resolve, reject) => {
      const fail = () => {
        socket.close();
        reject(new SignalError('UNREACHABLE', 'The server cannot be reached.'));
      };
      const timer = setTimeout(fail, OPEN_TIMEOUT);
      socket.onopen = () => {
        clearTimeout(timer);
        resolve();
      };
      socket.onerror = socket.onclose = () => {
        clearTimeout(timer);
        fail();
      };
    });
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onerror = null;
    socket.onclose = () => this.#lost(socket);
    if (this.#ended) socket.close();
  }

  #write(message) {
    if (!this.isOpen) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #receive(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      console.warn('unreadable message from the server');
      return;
    }
    const { replyTo = 0, ...rest } = message;
    const kind = Object.keys(rest)[0];
    const body = rest[kind] ?? {};
    if (kind === 'pong') this.#awaitedPong = false;
    if (kind === 'left') {
      this.#end();
      this.#rejectAll(new SignalError('LEFT', body.message || 'The session has ended.'));
      this.emit('left', body);
    } else if (kind === 'error' && replyTo) {
      this.#settle(replyTo, 'reject', new SignalError(body.code, body.message));
    } else if (replyTo && this.#waiting.has(replyTo)) {
      this.#settle(replyTo, 'resolve', body);
    } else if (kind) {
      this.emit('message', { kind, body });
    }
  }

  #settle(id, how, value) {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    waiting[how](value);
  }

  #rejectAll(error) {
    for (const id of [...this.#waiting.keys()]) this.#settle(id, 'reject', error);
  }

  #lost(socket) {
    if (socket !== this.#socket) return;
    clearTimeout(this.#pingTimer);
    this.#rejectAll(lostError());
    if (this.#ended || !this.#session) return;
    this.emit('state', 'lost');
    this.#resume(performance.now() + this.#resumeWindow);
  }

  async #resume(deadline) {
    for (let attempt = 0; !this.#ended; attempt += 1) {
      const delay = RETRY_DELAYS[Math.min(attempt, RETRY_DELAYS.length - 1)];
      if (performance.now() + delay > deadline) break;
      await new Promise((resolve) => setTimeout(resolve, delay));
      try {
        await this.#open();
        const socket = this.#socket;
        socket.onclose = () => this.#rejectAll(lostError());
        const joined = await this.request({ resume: { session: this.#session } });
        if (joined.session) this.#session = joined.session;
        if (!this.isOpen) throw lostError();
        socket.onclose = () => this.#lost(socket);
        this.emit('state', 'open');
        this.emit('resumed', joined);
        this.#schedulePing();
        return;
      } catch (error) {
        this.#socket?.close();
        if (error.code?.startsWith?.('ERROR_CODE_') && error.code !== 'ERROR_CODE_UNAVAILABLE') break;
      }
    }
    if (!this.#ended) {
      this.#session = null;
      this.#end();
      this.emit('gone');
    }
  }

  #schedulePing() {
    clearTimeout(this.#pingTimer);
    this.#awaitedPong = false;
    this.#pingTimer = setTimeout(() => this.#ping(), this.#pingInterval);
  }

  #ping() {
    clearTimeout(this.#pingTimer);
    this.#awaitedPong = true;
    this.#write({ ping: { timestamp: String(Math.round(performance.now())) } });
    const patience = Math.min(this.#pingInterval, 3000);
    this.#pingTimer = setTimeout(() => {
      // No answer: the path is dead although nobody closed it. Do not wait for the closing handshake.
      const socket = this.#socket;
      if (this.#awaitedPong) {
        socket.onclose = null;
        socket.close();
        this.#lost(socket);
      } else {
        this.#schedulePing();
      }
    }, patience);
  }

  #end() {
    this.#ended = true;
    clearTimeout(this.#pingTimer);
    this.#socket?.close();
  }
}

function lostError() {
  return new SignalError('LOST', 'The connection to the server was lost.');
}
