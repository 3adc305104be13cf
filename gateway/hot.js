// The hot cache: what nginx has not kept itself is looked for in the Redis that several gateways share, and stored
// there once a replica has answered it. Only where it is configured, and only for unstreamed requests that may be kept.
//
// The shared dictionary `hot` has the breaker: `failures` in a row, and `until`, before which the service is not asked.
// All that fails here goes on to the pool, and what breaks off here nginx sends there by itself (upstream `hot`).
import route from 'route.js';

const SERVICE = 'http://unix:hot/cache.sock:/answers/';
const KEY = /^[0-9a-f]{64}$(?!\n)/;
const FAILURES = 3, REST_MS = 2000;

// The breaker

// When its time is over, one request tries; the others go on resting until it has found out.
function mayAsk(dict) {
    const until = dict.get('until') || 0;
    if (until > Date.now()) {
        return false;
    }
    if (until > 0) {
        dict.set('until', Date.now() + REST_MS);
    }
    return true;
}

function note(dict, well) {
    if (!well) {
        if (dict.incr('failures', 1, 0) >= FAILURES) {
            dict.set('until', Date.now() + REST_MS);
        }
    } else if (dict.get('failures')) {
        dict.set('failures', 0);
        dict.delete('until');
    }
}

// Looking

// An answer, undefined where it is none of the service's.
async function whole(reply) {
    const size = Number(reply.headers.get('Content-Length'));
    const body = size > 0 ? Buffer.from(await reply.arrayBuffer()) : '';
    const kind = reply.headers.get('Content-Type'), seconds = reply.headers.get('X-Remaining');
    return body.length === size && size > 0 && kind && Number(seconds) > 0 ? {kind, seconds, body} : undefined;
}

// What is kept; null where nothing is, undefined where that cannot be said.
async function find(r, key) {
    const dict = ngx.shared.hot;
    if (!mayAsk(dict)) {
        return undefined;
    }
    let found;
    try {
        const reply = await ngx.fetch(SERVICE + key, {headers: {Host: 'localhost'}});
        if (reply.status === 200) {
            found = await whole(reply);
        } else if (reply.status === 404) {
            found = null;
        }
    } catch (e) {
        r.warn(`hot cache: ${e.message}`);
    }
    note(dict, found !== undefined);
    return found;
}

// Without X-Stoker-Cache-For nobody is to be asked: the pool is full.
async function look(r) {
    const key = r.headersIn['X-Stoker-Cache-Key'] || '';
    if (KEY.test(key) && !r.headersIn['X-Stoker-Cache-Skip']) {
        const found = await find(r, key);
        if (found) {
            r.headersOut['Content-Type'] = found.kind;
            r.headersOut['X-Stoker-Cache'] = 'HIT';
            r.headersOut['X-Accel-Expires'] = found.seconds;  // nginx keeps it no longer than whoever stored it
            r.return(200, found.body);
            return;
        }
        r.variables.stoker_hot_found = found === null ? 'MISS' : '';
    }
    if (r.headersIn['X-Stoker-Cache-For']) {
        r.internalRedirect('@ask');
    } else {
        r.return(404);
    }
}

// Storing

let pieces;  // of the answer
let length = 0;

// An answer whose end nothing but the connection's end tells may have been cut off, so it must have said its length.
function isWorthIt(r) {
    const size = Number(r.headersOut['Content-Length']);
    const plain = !r.headersOut['Content-Encoding'] && !r.headersOut['Content-Range'];
    return r.status === 200 && size > 0 && size <= Number(r.variables.stoker_hot_largest) && plain &&
        KEY.test(r.headersIn['X-Stoker-Cache-Key'] || '') && !(ngx.shared.hot.get('until') > Date.now());
}

// The client does not wait for it: the answer has gone on by then.
function store(r, data, flags) {
    r.sendBuffer(data, flags);
    if (pieces === undefined) {
        if (!isWorthIt(r)) {
            r.done();
            return;
        }
        pieces = [];
    }
    pieces.push(Buffer.from(data));  // nginx uses its own again
    length += data.length;
    if (flags.last && String(length) === r.headersOut['Content-Length']) {
        r.variables.stoker_hot_kind = r.headersOut['Content-Type'] || '';
        r.subrequest('/_stoker/answers/' + r.headersIn['X-Stoker-Cache-Key'], {
            method: 'PUT', args: 'ttl=' + r.headersIn['X-Stoker-Cache-For'], body: Buffer.concat(pieces), detached: true,
        });
    }
}

// As route.keptAnswer: what comes out of Redis took no tokens either.
function keptAnswer(r, data, flags) {
    if (r.variables.upstream_http_x_stoker_cache === 'HIT') {
        r.sendBuffer(data, flags);
    } else {
        route.keptAnswer(r, data, flags);
    }
}

export default {look, store, keptAnswer};
