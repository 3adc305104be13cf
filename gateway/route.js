// The way of nearly every request: whose it is, which pool it is for, how it is spread, what it took.
//
// nginx sets up all that a script declares for each request anew, so this file holds what every request needs and
// nothing else; what few of them need is in other files, imported by the locations that need it. A redirection
// makes nginx forget the script's state and set up another: the usual way has none. Likewise, what is known of pools
// and plans stands in maps of nginx.conf ($stoker_model -> $stoker_pool_rules, $stoker_plan -> $stoker_plan_rules),
// where nothing has to be parsed.
//
// Each request is a ticket of the shared dictionary `in_flight`, "pool pid id plan", from when it is taken in until it
// is logged, which nginx does exactly once however it ends. Its value: 1 it is with a replica; 2 likewise, and counted
// against the room of its pool; 10 and up: it waits (10 + priority). It waits in a request of its own, and either of
// the two may end at any moment: so the value only rises, by 100 or 200 when the wait is over (counted or not), and by
// 1000 when the request is. Whoever comes second sees that he does. `load` has the sums that each request needs
// ("in POOL", "wait POOL PRIORITY"), and the room of each pool as the newest configuration has it ("room POOL").
import crypto from 'crypto';

const COUNTED = 2, WAITS = 10, TAKEN = 100, GONE = 1000;
let known;  // {key, refused} of this request, found once

function digest(data) {
    return crypto.createHash('sha256').update(data).digest('hex');
}

// Keys are known by their SHA-256 only: the dictionary `keys` has digest -> "MARK ID PLAN EXPIRES MODELS".
function keyOf(r) {
    if (known === undefined) {
        known = lookUp(r.headersIn.Authorization);
    }
    return known;
}

function lookUp(header) {
    if (header === undefined) {
        return {key: null, refused: 'no_key'};
    }
    const secret = header.slice(7).trim();
    if (header.slice(0, 7).toLowerCase() !== 'bearer ' || !secret.startsWith('sk-stoker-')) {
        return {key: null, refused: 'bad_key'};
    }
    const dict = ngx.shared.keys;
    if (dict.get('#version') === undefined) {
        return {key: null, refused: 'not_loaded'};
    }
    const record = dict.get(digest(secret));
    if (record === undefined) {
        return {key: null, refused: 'bad_key'};
    }
    const words = record.split(' ');
    if (words[3] !== '0' && Number(words[3]) <= Date.now() / 1000) {
        return {key: null, refused: 'expired_key'};
    }
    return {key: {id: words[1], plan: words[2] === '-' ? '' : words[2], models: words[4]}, refused: ''};
}

// For nginx's limiters, which come first.
function limitedPlan(r) {
    const key = keyOf(r).key;
    return key ? key.plan : '';
}

function limitedKey(r) {
    const key = keyOf(r).key;
    return key ? key.id : '';
}

// The answer is written in a location of its own; undefined, so that `return refuse(...)` ends a function.
function refuse(r, cause, detail) {
    r.variables.stoker_refused = cause;
    r.variables.stoker_detail = detail || '';
    r.internalRedirect('@refused');
}

// The pool that serves a model or an alias; null where none does. nginx's maps know no case, so the name is compared.
function poolOf(r, model) {
    r.variables.stoker_model = model;
    const words = r.variables.stoker_pool_rules.split(' ');
    return model === '' || words[0] !== model ? null : {
        pool: words[1], model: words[2], open: words[3] === 'open', room: Number(words[4]), cache: words[5],
        seconds: words[6], shared: words[7] === 'shared',
    };
}

// JSON as it is on the way: the value, or null and a refusal.
function bodyOf(r, text) {
    let why = 'The request body must be a JSON object.';
    try {
        const body = JSON.parse(text);
        // A text as long in bytes as in characters is ASCII; U+FFFD is what stands for bytes that are no UTF-8.
        const broken = Buffer.byteLength(text) !== text.length && text.indexOf('\ufffd') >= 0 &&
            !isUtf8(r.requestBuffer);
        if (body !== null && typeof body === 'object' && !Array.isArray(body) && !broken) {
            return body;
        }
        why = broken ? 'The request body is not valid UTF-8.' : why;
    } catch (e) {
        const deep = e.message.startsWith('Nested too deep');
        why = deep ? 'The request body is nested deeper than 31 levels.' : 'The request body is not valid JSON.';
    }
    refuse(r, 'body', why);
    return null;
}

function isUtf8(raw) {
    try {
        new TextDecoder('utf-8', {fatal: true}).decode(raw);
        return true;
    } catch (e) {
        return false;
    }
}

// The plan's part: how large a body may be, and the headers that tell of the limits. False where it is refused.
function keepsToPlan(r, key) {
    r.variables.stoker_plan = key.plan;
    const words = r.variables.stoker_plan_rules.split(' ');  // PRIORITY BODY REQUESTS TOKENS
    key.priority = words[0];
    if (words[1] !== '0' && r.requestBuffer && r.requestBuffer.length > Number(words[1])) {
        refuse(r, 'body', 'larger ' + words[1]);
        return false;
    }
    const block = ngx.shared.blocks.get(key.id);
    if (block !== undefined && Number(block.split(' ')[0]) > Date.now() / 1000) {
        refuse(r, 'tokens', block);
        return false;
    }
    if (words[2] !== '0') {
        r.variables.stoker_limit_requests = words[2];
    }
    if (words[3] !== '0') {
        const used = ngx.shared.tokens.get(`${key.id} ${Math.floor(Date.now() / 60000)}`) || 0;
        r.variables.stoker_limit_tokens = words[3];
        r.variables.stoker_remaining_tokens = String(Math.max(0, Number(words[3]) - used));
        r.variables.stoker_reset_tokens = (60 - Math.floor(Date.now() / 1000) % 60) + 's';
    }
    return true;
}

// The header, the body's `user`, else the key, else the address: what says that two requests are of one user. It
// becomes a header on the second pass: no byte of the client's may be in it that could end one. A digest costs a tenth
// of all that the gateway does for a request, so an ordinary name stands for itself.
function userOf(r, body, key) {
    const named = r.variables.stoker_user_header || (typeof body.user === 'string' && body.user);
    if (named) {
        return named.length > 64 || /[^A-Za-z0-9_.@:+-]/.test(named) ? digest(named) : 'user-' + named;  // `$` lets a line feed by
    }
    return key ? 'key-' + key.id : 'address-' + r.variables.remote_addr;
}

// The way of an answer that may be kept; '' where it may not. Of a stream nothing can be: nginx holds back what it keeps.
function kept(r, routes, body, key) {
    if (routes.cache === 'off' || r.method !== 'POST') {
        return '';
    }
    if (routes.cache !== 'all' && body.temperature !== 0 && typeof body.seed !== 'number') {
        return '';
    }
    const wish = (r.headersIn['Cache-Control'] || '').toLowerCase();
    if (wish.indexOf('no-store') >= 0 || r.variables.stoker_conditional) {
        return '';
    }
    const owner = routes.shared ? 'pool' : key ? key.id : 'open';
    r.variables.stoker_cache_key = digest(`${owner} ${routes.pool} ${r.uri} ${digest(r.requestBuffer)}`);
    r.variables.stoker_cache_skip = wish.indexOf('no-cache') >= 0 ? '1' : '';
    return 'cached_' + routes.seconds;
}

// The way of a stream. It is asked for its usage, unless the client has done that itself.
function streamed(r, body, text) {
    const options = body.stream_options;
    const odd = options !== undefined && options !== null && (typeof options !== 'object' || Array.isArray(options));
    if (odd || (options && options.include_usage === true)) {
        return 'stream';
    }
    if (options === undefined) {  // the rest stays as the client wrote it
        const start = text.indexOf('{') + 1;
        r.variables.stoker_body =
            `${text.slice(0, start)}"stream_options":{"include_usage":true},${text.slice(start)}`;
    } else {
        const asked = Object.assign({}, options, {include_usage: true});
        r.variables.stoker_body = JSON.stringify(Object.assign({}, body, {stream_options: asked}));
    }
    return 'metered';
}

// As the newest configuration has it. -1 has no end.
function roomOf(routes) {
    const newest = ngx.shared.load.get('room ' + routes.pool);
    return newest === undefined ? routes.room : newest;
}

// Takes room for one where there is some, and nobody waits of that priority or a higher one: the value of its ticket, 0
// where it must wait.
function admit(load, pool, own, priority) {
    const room = roomOf({pool: pool, room: own});
    if (room < 0) {
        return 1;
    }
    for (let each = priority; each <= 2; each++) {
        if (load.get(`wait ${pool} ${each}`) > 0) {
            return 0;
        }
    }
    if (load.incr('in ' + pool, 1, 0) <= room) {
        return COUNTED;
    }
    load.incr('in ' + pool, -1, 0);
    return 0;
}

// Counts the request, and sends it on its way or to those that wait.
function enter(r, routes, key, way) {
    const priority = key && key.priority ? Number(key.priority) : 1;
    const taken = admit(ngx.shared.load, routes.pool, routes.room, priority);
    const ticket = `${routes.pool} ${process.pid} ${r.variables.request_id} ${key ? key.plan : ''}`.trim();
    try {
        ngx.shared.in_flight.add(ticket, taken || WAITS + priority);
        r.variables.stoker_ticket = ticket;
    } catch (e) {
        r.error(`not counted in flight: ${e.message}`);  // the dictionary is full; the request goes on
    }
    if (!taken) {
        r.variables.stoker_waiting = `${way} ${routes.pool} ${routes.room} ${priority}`;
        if (r.variables.stoker_ticket) {
            ngx.shared.load.incr(`wait ${routes.pool} ${priority}`, 1, 0);
        }
        r.internalRedirect(way.startsWith('cached') ? '@peek' : '@wait');  // an answer that is kept needs no room
    } else if (way === 'direct' && r.variables.stoker_upstream) {
        r.variables.stoker_once = '1';
    } else {
        go(r, way);
    }
}

// A worker that runs an older configuration may know no replica: the second pass does.
function go(r, way) {
    const once = way.startsWith('cached') && r.variables.stoker_upstream;
    r.variables.stoker_once = once ? '1' : '';
    r.internalRedirect(once || way === 'metered' ? '@' + way : '@stream');
}

// A request for a completion. `owners`: the models whose pools have the path; undefined: all have it.
function take(r, text, owners) {
    const given = keyOf(r);
    const key = given.key;
    if (key) {
        r.variables.stoker_key = key.id;
        r.variables.stoker_plan = key.plan;
    }
    const body = bodyOf(r, text);
    if (body === null) {
        return undefined;
    }
    if (typeof body.model !== 'string') {
        return refuse(r, 'model_missing');
    }
    const routes = poolOf(r, body.model.slice(0, 256));
    if (routes === null || (!routes.open && key === null)) {
        return refuse(r, routes === null ? 'model_unknown' : given.refused, body.model.slice(0, 128));
    }
    r.variables.stoker_pool = routes.pool;
    if (owners && owners.indexOf(routes.model) < 0) {
        return refuse(r, 'path');
    }
    if (key) {
        if (key.models !== '*' && key.models.split(',').indexOf(routes.model) < 0) {
            return refuse(r, 'model_not_allowed', routes.model);
        }
        if (!keepsToPlan(r, key)) {
            return undefined;
        }
    }
    r.variables.stoker_user = userOf(r, body, key);
    const way = body.stream === true ? streamed(r, body, text) : kept(r, routes, body, key) || 'direct';
    return enter(r, routes, key, way);
}

async function route(r) {
    if (r.method !== 'POST') {
        r.variables.stoker_allow = 'POST';
        r.variables.stoker_refused = 'method';
        r.return(405);
        return;
    }
    const refused = keyOf(r).refused;
    if (refused && refused !== 'not_loaded' && r.variables.stoker_open === '') {
        refuse(r, refused);  // whose body nobody has to read, or to parse
        return;
    }
    const text = await r.readRequestText();
    if (refused === 'not_loaded') {
        r.internalRedirect('@load');  // once after nginx was started
    } else {
        take(r, text);
    }
}

// The number that follows a name in JSON.
function numberAfter(text, name) {
    const at = text.indexOf(name);
    return at < 0 ? NaN : parseInt(text.slice(text.indexOf(':', at) + 1, text.indexOf(':', at) + 12), 10);
}

// How many tokens an answer took, from the last `usage` in it; whether there is one. In a text of a model the quotes
// are escaped, so that it cannot be taken for one.
function note(r, data) {
    const at = data.lastIndexOf('"usage"');
    if (at < 0 || data.indexOf('"prompt_tokens"', at) < 0) {
        return false;  // none, or `"usage": null`
    }
    const text = data.toString('utf8', at, Math.min(data.length, at + 600));
    const prompt = numberAfter(text, '"prompt_tokens"');
    if (isNaN(prompt)) {
        return false;
    }
    r.variables.stoker_tokens_in = String(prompt);
    r.variables.stoker_tokens_out = String(numberAfter(text, '"completion_tokens"') || 0);  // embeddings make none
    return true;
}

let carried;  // the end of what was seen: a `usage` may lie across two pieces

// An answer in one piece: once its `usage` was seen, nginx passes the rest by itself.
function answer(r, data, flags) {
    if (carried === undefined && note(r, data)) {
        r.sendBuffer(data, flags);
        r.done();
    } else {
        whole(r, data, flags);
    }
}

// One that may be kept. What was kept before took no tokens.
function keptAnswer(r, data, flags) {
    if (r.variables.upstream_cache_status === 'HIT') {
        r.sendBuffer(data, flags);
    } else {
        whole(r, data, flags);
    }
}

// A stream whose client has asked for its usage. Its bytes go on as they came; whether the usage was in them is told.
function whole(r, data, flags) {
    r.sendBuffer(data, flags);
    if (data.length === 0) {
        return false;
    }
    const seen = carried ? Buffer.concat([carried, data]) : data, end = data.length - 1;
    const ends = data[end] === 10 && (data[end - 1] === 10 || data[end - 2] === 10);  // an event: nothing lies across
    const noted = note(r, seen);
    carried = noted || ends || flags.last ? undefined : Buffer.from(seen.subarray(Math.max(0, seen.length - 600)));
    return noted;
}

function releaseTicket(ticket, value) {
    const pool = ticket.split(' ')[0];
    if (value === COUNTED || (value >= TAKEN && value < 2 * TAKEN)) {
        ngx.shared.load.incr('in ' + pool, -1, 0);
    } else if (value >= WAITS && value < TAKEN) {
        ngx.shared.load.incr(`wait ${pool} ${value - WAITS}`, -1, 0);
    }
}

// The end of every request, in the log.
function done(r) {
    const ticket = r.variables.stoker_ticket;
    if (ticket) {
        const value = ngx.shared.in_flight.incr(ticket, GONE, 0) - GONE;
        ngx.shared.in_flight.delete(ticket);
        if (value > 1) {
            releaseTicket(ticket, value);
        }
        if (r.variables.stoker_limit_tokens && r.variables.stoker_tokens_in) {
            const used = Number(r.variables.stoker_tokens_in) + Number(r.variables.stoker_tokens_out);
            ngx.shared.tokens.incr(`${r.variables.stoker_key} ${Math.floor(Date.now() / 60000)}`, used, 0);
        }
    }
    return '';
}

// The replicas behind these addresses, without those that are not in the plan.
function replicas(r, addresses) {
    return addresses.map(address => {
        r.variables.stoker_address = address;
        return r.variables.stoker_replica;
    }).filter(name => name !== 'unknown').join(',');
}

function failedBefore(r) {
    return replicas(r, r.variables.upstream_addr.split(/, | : /).slice(0, -1));
}

function failedAll(r) {
    return replicas(r, r.variables.upstream_addr.split(/, | : /));
}

export default {
    route, take, keyOf, poolOf, roomOf, admit, go, refuse, releaseTicket, limitedPlan, limitedKey, note, answer, keptAnswer, whole, done, failedBefore,
    failedAll,
};
