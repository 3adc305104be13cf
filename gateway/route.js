// Sends a request to its pool and keeps the count of requests in flight. Runs inside nginx's workers.
//
// The variables $stoker_pools (how many) and $stoker_pool_0, $stoker_pool_1, ... ("pool model") are the plan.
// Each request in flight is one key of the shared dictionary: "pool pid id". It is set when the request is routed and
// deleted when it is logged, which nginx does exactly once however it ends. Keys of a worker that died are dropped.
import fs from 'fs';

function plan(r) {
    const pools = [];
    for (let i = 0; i < Number(r.variables.stoker_pools); i++) {
        const words = r.variables['stoker_pool_' + i].split(' ');
        pools.push({pool: words[0], model: words[1]});
    }
    return pools;
}

function refuse(r, status, code, message) {
    const error = {message: message, type: 'invalid_request_error', param: 'model', code: code};
    r.headersOut['Content-Type'] = 'application/json';
    r.return(status, JSON.stringify({error: error}));
}

function unknownModel(r, name, pools) {
    const known = pools.map(routes => routes.model).join(', ');
    refuse(r, 404, 'model_not_found', `The model ${JSON.stringify(name)} does not exist. Known models: ${known}.`);
}

function allows(r, methods) {
    if (methods.indexOf(r.method) >= 0) {
        return true;
    }
    r.variables.stoker_allow = methods.join(', ');
    r.return(405);
    return false;
}

function body(r) {
    try {
        const value = JSON.parse(r.requestText);
        return value !== null && typeof value === 'object' && !Array.isArray(value) ? value : null;
    } catch (e) {
        return null;
    }
}

function send(r, pool) {
    const ticket = `${pool} ${process.pid} ${r.variables.request_id}`;
    r.variables.stoker_pool = pool;
    try {
        ngx.shared.in_flight.add(ticket, 1);
        r.variables.stoker_ticket = ticket;
    } catch (e) {
        r.error(`not counted in flight: ${e.message}`);  // the dictionary is full; the request goes on
    }
    r.internalRedirect('@pool_' + pool);
}

function route(r) {
    if (!allows(r, ['POST'])) {
        return;
    }
    const pools = plan(r);
    if (pools.length === 1) {
        send(r, pools[0].pool);
        return;
    }
    const asked = body(r);
    if (asked === null) {
        refuse(r, 400, 'invalid_json', 'The request body must be a JSON object that names a model.');
        return;
    }
    if (typeof asked.model !== 'string') {
        refuse(r, 400, 'model_missing', 'The key "model" must name a model.');
        return;
    }
    const found = pools.find(routes => routes.model === asked.model);
    if (found) {
        send(r, found.pool);
    } else {
        unknownModel(r, asked.model.slice(0, 128), pools);
    }
}

function describe(routes) {
    return {id: routes.model, object: 'model', created: 0, owned_by: 'stoker'};
}

function models(r) {
    if (allows(r, ['GET', 'HEAD'])) {
        r.headersOut['Content-Type'] = 'application/json';
        r.return(200, JSON.stringify({object: 'list', data: plan(r).map(describe)}));
    }
}

function model(r) {
    if (!allows(r, ['GET', 'HEAD'])) {
        return;
    }
    const pools = plan(r);
    const name = r.uri.slice('/v1/models/'.length);
    const found = pools.find(routes => routes.model === name);
    if (found) {
        r.headersOut['Content-Type'] = 'application/json';
        r.return(200, JSON.stringify(describe(found)));
    } else {
        unknownModel(r, name.slice(0, 128), pools);
    }
}

function done(r) {
    const ticket = r.variables.stoker_ticket;
    if (ticket) {
        ngx.shared.in_flight.delete(ticket);
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
    return replicas(r, r.variables.upstream_addr.split(', ').slice(0, -1));
}

function failedAll(r) {
    return replicas(r, r.variables.upstream_addr.split(', '));
}

function exists(path) {
    try {
        fs.statSync(path);
        return true;
    } catch (e) {
        return false;
    }
}

function inFlight(r) {
    const counts = {};
    const alive = {};
    const procfs = exists('/proc/self');
    plan(r).forEach(routes => { counts[routes.pool] = 0; });
    ngx.shared.in_flight.keys(1000000).forEach(ticket => {
        const words = ticket.split(' ');
        if (alive[words[1]] === undefined) {
            alive[words[1]] = !procfs || exists('/proc/' + words[1]);
        }
        if (alive[words[1]]) {
            counts[words[0]] = (counts[words[0]] || 0) + 1;
        } else {
            ngx.shared.in_flight.delete(ticket);
        }
    });
    r.headersOut['Content-Type'] = 'application/json';
    r.return(200, JSON.stringify({pools: counts}));
}

export default {route, models, model, done, inFlight, failedBefore, failedAll};
