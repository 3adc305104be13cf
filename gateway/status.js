// What the controller and the edge exporter ask nginx.
import fs from 'fs';
import hot from 'route.js';

const WAITS = 10, TAKEN = 100, MOST = 1000000;

function say(r, value) {
    r.headersOut['Content-Type'] = 'application/json';
    r.return(200, JSON.stringify(value));
}

function exists(path) {
    try {
        fs.statSync(path);
        return true;
    } catch (e) {
        return false;
    }
}

// Pairs of a pool and its room.
function pools(r) {
    const found = [];
    for (;;) {
        r.variables.stoker_index = String(found.length);
        const pair = r.variables.stoker_room_at;
        if (pair === '') {
            return found;
        }
        found.push(pair.split('='));
    }
}

// What each request looks at when it comes, where nothing is counted anew: by pool, what takes room and what waits.
function sums(names) {
    const load = ngx.shared.load, found = {};
    names.forEach(pool => {
        const waiting = [0, 1, 2].map(priority => load.get(`wait ${pool} ${priority}`) || 0);
        found[pool] = {admitted: load.get('in ' + pool) || 0, waiting: waiting[0] + waiting[1] + waiting[2]};
    });
    return found;
}

// Requests in flight. What a worker that died has left behind is taken out of all counts.
function inFlight(r) {
    const counts = {}, plans = {}, waiting = {}, alive = {};
    const procfs = exists('/proc/self');
    pools(r).forEach(pair => { counts[pair[0]] = waiting[pair[0]] = 0; });
    ngx.shared.in_flight.items(MOST).forEach(item => {
        const words = item[0].split(' ');  // POOL PID ID PLAN
        if (alive[words[1]] === undefined) {
            alive[words[1]] = !procfs || exists('/proc/' + words[1]);
        }
        if (alive[words[1]]) {
            counts[words[0]] = (counts[words[0]] || 0) + 1;
            waiting[words[0]] = (waiting[words[0]] || 0) + (item[1] >= WAITS && item[1] < TAKEN ? 1 : 0);
            if (words[3]) {
                plans[words[3]] = (plans[words[3]] || 0) + 1;
            }
        } else if (ngx.shared.in_flight.delete(item[0])) {
            hot.releaseTicket(item[0], item[1]);
        }
    });
    say(r, {pools: counts, plans: plans, waiting: waiting, sums: sums(Object.keys(counts))});
}

function generation(r) {
    say(r, {generation: r.variables.stoker_generation});
}

// Asked once after each reload, when only workers of the newest configuration take connections: now its rooms count.
// Sooner, and who waits would be let in to a worker that does not know the replicas the room is of.
function rooms(r) {
    pools(r).forEach(pair => ngx.shared.load.set('room ' + pair[0], Number(pair[1])));
    generation(r);
}

export default {inFlight, generation, rooms};
