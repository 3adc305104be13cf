// What few requests need: refusals in OpenAI's words, the models, waiting for room. Only the
// locations of nginx.conf that need it import it.
import hot from 'route.js';
import keys from 'keys.js';

const WAITS = 10, TAKEN = 100, GONE = 1000;  // see route.js
const SHORTEST_MS = 20, LONGEST_MS = 500;
const TURNS = 4, FIRST_TURN_MS = 100;  // 100, 400, 1,600 and 6,400 ms
const WITHOUT_ANSWER = 444;  // nginx's own status for it

// Refusals

function error(message, code, param) {
    return {message: message, type: 'invalid_request_error', param: param || null, code: code};
}

function serverError(message, code) {
    return Object.assign(error(message, code), {type: 'server_error'});
}

function tooMany(message, type) {
    return Object.assign(error(message, 'rate_limit_exceeded'), {type: type});
}

function secondsUntil(block) {
    return Math.max(1, Math.ceil(Number(block.split(' ')[0]) - Date.now() / 1000));
}

// By cause: the status, the error, further headers.
const REFUSALS = {
    no_key: () => [401, error('This model needs an API key. Send it as "Authorization: Bearer sk-stoker-...".',
        'invalid_api_key'), {'WWW-Authenticate': 'Bearer'}],
    bad_key: () => [401, error('Incorrect API key provided. It is malformed, unknown or revoked.', 'invalid_api_key'),
        {'WWW-Authenticate': 'Bearer'}],
    expired_key: () => [401, error('This API key has expired.', 'expired_api_key'), {'WWW-Authenticate': 'Bearer'}],
    body: detail => detail.startsWith('larger ')
        ? [413, error(`The request body is larger than the ${detail.slice(7)} bytes that your plan allows.`,
            'request_too_large')]
        : [400, error(detail, 'invalid_json')],
    model_missing: () => [400, error('The key "model" must name a model.', 'model_missing', 'model')],
    model_unknown: (detail, known) => [404, error(`The model ${JSON.stringify(detail)} does not exist. ` +
        (known.length ? `Known models: ${known.join(', ')}.` : 'There is none that you may use.'),
        'model_not_found', 'model')],
    model_not_allowed: detail => [403, error(`This API key may not use the model ${JSON.stringify(detail)}.`,
        'model_not_allowed', 'model')],
    path: () => [404, error('There is nothing here. Try GET /v1/models or POST /v1/chat/completions.', 'not_found')],
    several: detail => [400, error(`Several models have this path (${detail}). POST a body that names one.`,
        'model_missing', 'model')],
    tokens: detail => [429, tooMany(`The tokens of your plan for this ${detail.split(' ')[1]} are used up. ` +
        `Try again in ${secondsUntil(detail)} s.`, 'tokens'), {
        'Retry-After': String(secondsUntil(detail)), 'X-RateLimit-Remaining-Tokens': '0',
        'X-RateLimit-Reset-Tokens': secondsUntil(detail) + 's'}],
    rate: () => [429, tooMany('Too many requests in a second for your plan. Try again in a second.', 'requests'), {
        'Retry-After': '1', 'X-RateLimit-Remaining-Requests': '0', 'X-RateLimit-Reset-Requests': '1s'}],
    concurrency: () => [429, tooMany('Too many requests at once for your plan. Try again in a second.', 'requests'),
        {'Retry-After': '1'}],
    full: () => [503, serverError('All replicas of this model are busy. Try again in a few seconds.', 'overloaded'),
        {'Retry-After': '5'}],
    no_replica: () => [503, serverError('No replica of this model is ready. Try again in a few seconds.',
        'no_replica_ready'), {'Retry-After': '5'}],
};

function refuse(r, cause, detail) {
    const made = REFUSALS[cause](detail || '', cause === 'model_unknown' ? names(r, hot.keyOf(r).key) : []);
    r.variables.stoker_refused = cause === 'model_missing' || cause === 'several' ? 'model_unknown' : cause;
    r.headersOut['Content-Type'] = 'application/json';
    Object.keys(made[2] || {}).forEach(name => { r.headersOut[name] = made[2][name]; });
    r.return(made[0], JSON.stringify({error: made[1]}));
}

function refused(r) {
    const cause = r.variables.stoker_refused || (hot.roomOf(asked(r.variables.stoker_waiting)) ? 'full' : 'no_replica');
    const lacksKey = hot.keyOf(r).refused;
    if (cause === 'model_unknown' && lacksKey && !all(r).some(name => hot.poolOf(r, name).open)) {
        refuse(r, lacksKey);  // who has no key does not learn which models there are
    } else {
        refuse(r, cause, r.variables.stoker_detail);
    }
}

// What nginx's own limiters refused.
function limited(r) {
    const key = hot.keyOf(r).key;
    if (key) {
        r.variables.stoker_key = key.id;
        r.variables.stoker_plan = key.plan;
        const requests = r.variables.stoker_plan_rules.split(' ')[2];
        r.variables.stoker_limit_requests = requests === '0' ? '' : requests;
    }
    refuse(r, r.variables.limit_req_status === 'REJECTED' ? 'rate' : 'concurrency');
}

// Models

function all(r) {
    const found = [];
    for (;;) {
        r.variables.stoker_index = String(found.length);
        const name = r.variables.stoker_model_at;
        if (name === '') {
            return found;
        }
        found.push(name);
    }
}

// The models and aliases that this one may ask for. `key` null: those that are open.
function names(r, key) {
    return all(r).filter(name => {
        const routes = hot.poolOf(r, name);
        return key === null ? routes.open : key.models === '*' || key.models.split(',').indexOf(routes.model) >= 0;
    });
}

function say(r, value) {
    r.headersOut['Content-Type'] = 'application/json';
    r.return(200, JSON.stringify(value));
}

function describe(name) {
    return {id: name, object: 'model', created: 0, owned_by: 'stoker'};
}

function allows(r, methods) {
    if (methods.indexOf(r.method) >= 0) {
        return true;
    }
    r.variables.stoker_allow = methods.join(', ');
    r.variables.stoker_refused = 'method';
    r.return(405);
    return false;
}

// Who asks for the models; undefined where he was refused.
function asker(r) {
    keys.ensureLoaded(r);
    const given = hot.keyOf(r);
    if (given.refused && !all(r).some(name => hot.poolOf(r, name).open)) {
        refuse(r, given.refused);
        return undefined;
    }
    r.variables.stoker_key = given.key ? given.key.id : '';
    return given.key;
}

// Those that are up: whose pool has a replica to send requests to.
function models(r) {
    if (!allows(r, ['GET', 'HEAD'])) {
        return;
    }
    const key = asker(r);
    if (key !== undefined) {
        const up = names(r, key).filter(name => hot.roomOf(hot.poolOf(r, name)) !== 0);
        say(r, {object: 'list', data: up.map(describe)});
    }
}

function model(r) {
    if (!allows(r, ['GET', 'HEAD'])) {
        return;
    }
    const key = asker(r);
    if (key === undefined) {
        return;
    }
    const name = r.uri.slice('/v1/models/'.length);
    if (names(r, key).indexOf(name) >= 0) {
        say(r, describe(name));
    } else {
        refuse(r, 'model_unknown', name.slice(0, 128));
    }
}

// A path of the engine that pools have opened: the model in the body says whose; without a body there must be one pool.
async function opened(r) {
    keys.ensureLoaded(r);
    const owners = r.variables.stoker_open_path.split(' ');  // models of the pools
    if (!allows(r, ['GET', 'HEAD', 'POST'])) {
        return;
    }
    if (r.method === 'POST') {
        hot.take(r, await r.readRequestText(), owners);
    } else if (owners.length > 1) {
        hot.refuse(r, 'several', owners.join(', '));
    } else {
        hot.take(r, JSON.stringify({model: owners[0]}), owners);
    }
}

// The first request after nginx was started.
function load(r) {
    keys.ensureLoaded(r);
    hot.take(r, r.requestText || '');
}

// Waiting

function sleep(ms) {
    return new Promise(done => setTimeout(done, ms));
}

// Many look seldom: a thousand that wait must not take the core that the others need.
function pause(pool, priority) {
    const waiting = ngx.shared.load.get(`wait ${pool} ${priority}`) || 0;
    return Math.min(LONGEST_MS, SHORTEST_MS + waiting / 4) * (0.75 + Math.random() / 2);
}

function asked(waiting) {
    const words = waiting.split(' ');
    return {way: words[0], pool: words[1], room: Number(words[2]), priority: Number(words[3])};
}

// Waits for room, in a request that nginx makes for the one that waits: only so does it notice a client that leaves.
async function wait(r) {
    const ticket = r.headersIn['X-Stoker-Ticket'], routes = asked(r.headersIn['X-Stoker-Waiting']);
    const until = Date.now() + Number(r.variables.stoker_queue_ms);
    let taken = 0;
    while (!taken && Date.now() < until && (!ticket || ngx.shared.in_flight.has(ticket))) {
        await sleep(Math.min(pause(routes.pool, routes.priority), Math.max(1, until - Date.now())));
        taken = hot.admit(ngx.shared.load, routes.pool, routes.room, routes.priority + 1);
    }
    if (taken && ticket) {
        hand(ticket, routes, taken);
    }
    r.headersOut['X-Accel-Redirect'] = taken ? '@entered' : '@refused';
    try {
        r.return(204);
    } catch (e) {
        r.log(`nobody waits any more: ${e.message}`);
    }
}

// What was taken is the request's now, unless that is over.
function hand(ticket, routes, taken) {
    const value = ngx.shared.in_flight.incr(ticket, taken === 1 ? 2 * TAKEN : TAKEN, 0);
    if (value < TAKEN + WAITS || value >= GONE) {
        ngx.shared.in_flight.delete(ticket);
        hot.releaseTicket(ticket, taken);
    } else {
        ngx.shared.load.incr(`wait ${routes.pool} ${routes.priority}`, -1, 0);
    }
}

// On through hold.sock: there the newest configuration answers, with all its replicas.
function entered(r) {
    const way = asked(r.variables.stoker_waiting).way;
    hot.go(r, way === 'direct' ? 'stream' : way);
}

// nginx names its upstream where it should name a replica, when each of them has as many requests as it may have.
function allBusy(r) {
    const last = (r.variables.upstream_addr || '').split(/, | : /).pop();
    return last.startsWith('pool_');
}

// The first pass: the second one waits.
function busy(r) {
    if (allBusy(r)) {
        hot.go(r, 'stream');
    } else {
        r.internalRedirect('/_error/502');
    }
}

// The second pass. nginx follows ten redirections of a request, and a turn takes two of them. Whom no turn has found a
// place ends without an answer: the first pass goes on through `again.sock`, where nobody is full.
async function again(r) {
    const turn = r.variables.upstream_addr.split(/, | : /).filter(each => each.startsWith('pool_')).length;
    if (!allBusy(r)) {
        r.internalRedirect('/_error/502');
    } else if (turn > TURNS) {
        r.return(WITHOUT_ANSWER);
    } else {
        await sleep(FIRST_TURN_MS * Math.pow(4, turn - 1));
        r.internalRedirect(r.uri);
    }
}

export default {refused, limited, models, model, opened, load, wait, entered, busy, again};
