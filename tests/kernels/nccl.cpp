// A fake NCCL among threads of one process, and the streams and events it is tied to the driver with.
//
// It comes after driver.cpp. Each thread is a rank with a stream it launches on, whose work is done when it is launched, and
// one of NCCL. Work of NCCL is done when the last rank has asked for it, in the order of the host's sums. A stream that
// waits for a rank that does not come stands still after a while: what is launched is swallowed, and what would wait for it
// ends the process.

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace {

const int NOT_READY = 600, NCCL_INVALID_USAGE = 5;

struct Operation {
    const float* from;
    float* to;
    size_t count;
    int root;  // -1: a sum
};

// What the ranks do together at one time.
struct Meeting {
    std::vector<std::vector<Operation>> asked;
    size_t present = 0;
    bool is_over = false;
};

struct World {
    size_t ranks;
    std::map<uint64_t, std::shared_ptr<Meeting>> meetings;
};

struct Communicator {
    std::shared_ptr<World> world;
    size_t rank;
    uint64_t met = 0;
};

struct Stream {
    // Of NCCL's: the last meeting this rank asked for, and how much the rank had launched when this last waited for that.
    std::shared_ptr<Meeting> last;
    uint64_t waited_for = 0;
};

struct Event {
    std::shared_ptr<Meeting> meeting;
    uint64_t launched = 0;
};

std::mutex table;
std::condition_variable changed;
std::map<std::string, std::shared_ptr<World>> worlds;
thread_local std::vector<Operation> group;
thread_local Communicator* used;
thread_local Stream* used_stream;

// Milliseconds until a rank that does not come counts as never coming.
std::chrono::milliseconds patience() {
    const char* text = getenv("GOLF_FAKE_PATIENCE_MS");
    return std::chrono::milliseconds(text ? atoi(text) : 60000);
}

// The host's order: the upper half of the ranks is added to the lower one.
void conclude(Meeting& meeting) {
    const size_t ranks = meeting.asked.size();
    for (size_t i = 0; i < meeting.asked[0].size(); i++) {
        const Operation first = meeting.asked[0][i];
        std::vector<std::vector<float>> parts;
        for (auto& asked : meeting.asked) parts.emplace_back(asked[i].from, asked[i].from + asked[i].count);
        for (size_t half = ranks / 2; first.root < 0 && half > 0; half /= 2) {
            for (size_t rank = 0; rank < half; rank++) {
                for (size_t k = 0; k < first.count; k++) parts[rank][k] += parts[rank + half][k];
            }
        }
        const std::vector<float>& result = parts[first.root < 0 ? 0 : first.root];
        for (auto& asked : meeting.asked) memcpy(asked[i].to, result.data(), result.size() * sizeof(float));
    }
    meeting.is_over = true;
}

bool fits(const Meeting& meeting) {
    for (auto& asked : meeting.asked) {
        if (asked.size() != meeting.asked[0].size()) return false;
        for (size_t i = 0; i < asked.size(); i++) {
            const Operation &own = asked[i], &other = meeting.asked[0][i];
            if (own.count != other.count || own.root != other.root) return false;
        }
    }
    return true;
}

int ask(Operation operation, int type, Communicator* communicator, Stream* stream) {
    if (type != 7 || operation.from != operation.to) return NCCL_INVALID_USAGE;  // ncclFloat32, in place
    // Work begins behind everything launched before it.
    if (!stream || stream->waited_for != launched) return NCCL_INVALID_USAGE;
    used = communicator;
    used_stream = stream;
    group.push_back(operation);
    return 0;
}

}  // namespace

extern "C" {

int cuCtxSynchronize() { return 0; }
int cuStreamCreate(Stream** out, unsigned flags) { return *out = new Stream(), flags == 1 ? 0 : INVALID; }  // NON_BLOCKING
int cuStreamDestroy_v2(Stream* stream) { return delete stream, 0; }
int cuEventCreate(Event** out, unsigned) { return *out = new Event(), 0; }
int cuEventDestroy_v2(Event* event) { return delete event, 0; }
int cuEventRecord(Event* event, Stream* stream) {
    event->meeting = stream ? stream->last : nullptr;
    event->launched = launched;
    return 0;
}
int cuEventSynchronize(Event*) { return 0; }
int cuEventQuery(Event* event) {
    std::lock_guard<std::mutex> guard(table);
    return !event->meeting || event->meeting->is_over ? 0 : NOT_READY;
}
int cuStreamWaitEvent(Stream* stream, Event* event, unsigned) {
    // An event of what was launched; all others are of NCCL's work.
    if (!event->meeting) return (stream ? stream->waited_for = event->launched : 0), 0;
    std::unique_lock<std::mutex> guard(table);
    const std::shared_ptr<Meeting> meeting = event->meeting;
    if (meeting && !changed.wait_for(guard, patience(), [&] { return meeting->is_over; })) {
        stands_still = true;
    }
    return 0;
}

struct UniqueId {
    char bytes[128];
};

int ncclGetUniqueId(UniqueId* out) {
    static int ids;
    std::lock_guard<std::mutex> guard(table);
    snprintf(out->bytes, sizeof out->bytes, "world %d", ids++);
    return 0;
}
int ncclCommInitRank(Communicator** out, int ranks, UniqueId id, int rank) {
    if (current != &context) return 1;
    std::lock_guard<std::mutex> guard(table);
    std::shared_ptr<World>& world = worlds[id.bytes];
    if (!world) world = std::make_shared<World>(World{(size_t)ranks, {}});
    *out = new Communicator{world, (size_t)rank};
    return world->ranks == (size_t)ranks ? 0 : NCCL_INVALID_USAGE;
}
int ncclCommGetAsyncError(Communicator*, int* out) { return *out = 0, 0; }
int ncclCommAbort(Communicator* communicator) {
    std::lock_guard<std::mutex> guard(table);
    stands_still = false;
    fprintf(stderr, "rank %zu gave up\n", communicator->rank);
    return delete communicator, 0;
}
int ncclGroupStart() { return group.clear(), 0; }
int ncclAllReduce(const float* from, float* to, size_t count, int type, int operation, Communicator* communicator,
                  Stream* stream) {
    return operation == 0 ? ask({from, to, count, -1}, type, communicator, stream) : NCCL_INVALID_USAGE;
}
int ncclBroadcast(const float* from, float* to, size_t count, int type, int root, Communicator* communicator,
                  Stream* stream) {
    return ask({from, to, count, root}, type, communicator, stream);
}
int ncclGroupEnd() {
    if (group.empty()) return 0;
    std::lock_guard<std::mutex> guard(table);
    World& world = *used->world;
    std::shared_ptr<Meeting>& meeting = world.meetings[used->met++];
    if (!meeting) meeting = std::make_shared<Meeting>(Meeting{std::vector<std::vector<Operation>>(world.ranks)});
    meeting->asked[used->rank].swap(group);
    used_stream->last = meeting;
    if (++meeting->present == world.ranks) {
        if (!fits(*meeting)) return NCCL_INVALID_USAGE;
        conclude(*meeting);
        changed.notify_all();
    }
    return 0;
}

}  // extern "C"
