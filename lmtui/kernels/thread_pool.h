// Threads that share the chunks of a region of work.
//
// A region is cut into chunks, which threads claim one by one. Whoever begins a region
// waits for chunks that are being computed, never for a thread that has not begun one: it
// may have lost its core to another process. Threads that make others wait longer than they
// help are left out for a while.

#pragma once

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>

class ThreadPool {
    typedef std::chrono::steady_clock Clock;
    static constexpr auto SPIN = std::chrono::microseconds(20);
    static constexpr auto LATE = std::chrono::microseconds(200);
    static constexpr Clock::duration SHORTEST = std::chrono::milliseconds(50);  // left out
    static constexpr Clock::duration LONGEST = std::chrono::milliseconds(800);
    static constexpr Clock::duration FIRST_CREDIT = std::chrono::milliseconds(5);
    static constexpr Clock::duration MOST_CREDIT = std::chrono::milliseconds(20);

    // What all threads do in a region.
    struct Job {
        const void *prepare, *work;
        void (*call_prepare)(const void *);
        void (*call_work)(const void *, long);
    };
    // A region's number, its chunks, and the next one to claim. A claim keeps its region
    // open, so that a thread may read the job after it.
    struct Ticket {
        static const int BITS = 20;
        uint64_t all;
        uint64_t region() const { return all >> 2 * BITS; }
        uint64_t chunks() const { return all >> BITS & ((1 << BITS) - 1); }
        uint64_t next() const { return all & ((1 << BITS) - 1); }
    };

    std::atomic<uint64_t> ticket{0};
    std::atomic<uint64_t> done{0};  // chunks of the region
    Job job{};
    std::mutex callers;  // held by the thread whose region runs
    std::mutex sleep;
    std::condition_variable wake;
    std::atomic<int> sleeping{0};
    std::atomic<bool> ends{false}, is_out{false};  // of the helpers
    long helpers = 0;
    Clock::duration credit = FIRST_CREDIT, pause = SHORTEST;
    Clock::time_point since{};  // they are out, or in again

    const long size;

    static inline std::atomic<ThreadPool *> current{nullptr};
    static inline std::atomic<long> wanted{1};
    static inline std::mutex making;

    static void relax() {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }

    bool claim(Ticket &found) {
        found.all = ticket.load(std::memory_order_acquire);
        while (found.next() < found.chunks())
            if (ticket.compare_exchange_weak(found.all, found.all + 1,
                                             std::memory_order_acq_rel))
                return true;
        return false;
    }

    // Computes chunks of the open region until none is left; returns how many.
    long compute() {
        long count = 0;
        uint64_t prepared = 0;
        Ticket mine;
        while (claim(mine)) {
            if (!count || prepared != mine.region()) job.call_prepare(job.prepare);
            prepared = mine.region(), count++;
            job.call_work(job.work, mine.next());
            done.fetch_add(1, std::memory_order_release);
        }
        return count;
    }

    void help() {
        auto spin_until = Clock::now() + SPIN;
        while (!ends) {
            if (!is_out && compute()) {
                spin_until = Clock::now() + SPIN;
                continue;
            }
            for (int i = 0; i < 16; i++) relax();
            if (!is_out && Clock::now() < spin_until) continue;
            std::unique_lock<std::mutex> lock(sleep);
            sleeping++;
            wake.wait(lock, [&] {
                const Ticket now{ticket.load()};
                return ends || (!is_out && now.next() < now.chunks());
            });
            sleeping--;
            spin_until = Clock::now() + SPIN;
        }
    }

    explicit ThreadPool(long threads) : size(threads) {
        sigset_t all, before;  // signals are for the program's own threads
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            for (; helpers + 1 < threads; helpers++)
                std::thread(&ThreadPool::help, this).detach();
        } catch (const std::system_error &) {  // the system has no more
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    // Wakes helpers that sleep, and lets them in again if they were out for long enough.
    void call_helpers() {
        if (is_out) {
            const auto now = Clock::now();
            if (now - since < pause) return;
            since = now;
            is_out = false;
        }
        if (!sleeping) return;
        { std::lock_guard<std::mutex> lock(sleep); }
        wake.notify_all();
    }

    // Waits until all is done. Helpers are left out where others have waited for them longer
    // than they have helped: one that has a third of a core makes all slower.
    void wait_for(uint64_t chunks, uint64_t own, Clock::duration computing) {
        const auto start = Clock::now();
        auto waited = Clock::duration::zero();
        while (done.load(std::memory_order_acquire) < chunks) {
            relax();
            waited = Clock::now() - start;
            if (waited > SPIN) sched_yield();  // it may want this thread's core
        }
        const auto of_one = computing / std::max<long>(own, 1);
        credit = std::min<Clock::duration>(MOST_CREDIT, credit + of_one * (chunks - own));
        if (waited < LATE + of_one) return;
        credit -= waited;
        if (credit >= Clock::duration::zero()) return;
        credit = FIRST_CREDIT;
        const auto now = Clock::now();
        const bool again = now - since < LONGEST;
        pause = again ? std::min<Clock::duration>(2 * pause, LONGEST) : SHORTEST;
        since = now;
        is_out = true;
    }

    // A pool is never freed, since others may still run a region in it.
    static ThreadPool &get() {
        ThreadPool *pool = current;
        if (pool && pool->size == wanted) return *pool;
        static const int forgets = pthread_atfork(
            [] { making.lock(); }, [] { making.unlock(); },
            [] { making.unlock(), current = nullptr; });  // a child has no such threads
        (void)forgets;
        std::lock_guard<std::mutex> lock(making);
        pool = current;
        if (pool && pool->size == wanted) return *pool;
        if (pool) pool->end();
        current = pool = new ThreadPool(wanted);
        return *pool;
    }

    void end() {
        ends = true;
        { std::lock_guard<std::mutex> lock(sleep); }
        wake.notify_all();
    }

   public:
    static void set_threads(long threads) { wanted = std::max(threads, 1L); }
    static long threads() { return wanted; }

    // Calls work(0) … work(chunks - 1), each once, in any order, on all threads; on the
    // caller's alone while another region runs. Each thread calls prepare() before its
    // first.
    template <typename Prepare, typename Work>
    static void run(long chunks, const Prepare &prepare, const Work &work) {
        if (chunks <= 0) return;
        ThreadPool &pool = get();
        std::unique_lock<std::mutex> alone(pool.callers, std::try_to_lock);
        if (chunks == 1 || !pool.helpers || !alone) {
            prepare();
            for (long chunk = 0; chunk < chunks; chunk++) work(chunk);
            return;
        }
        pool.job = {&prepare, &work, [](const void *p) { (*(const Prepare *)p)(); },
                    [](const void *w, long chunk) { (*(const Work *)w)(chunk); }};
        pool.done.store(0, std::memory_order_relaxed);
        const Ticket before{pool.ticket.load(std::memory_order_relaxed)};
        pool.ticket.store((before.region() + 1) << 2 * Ticket::BITS |
                          (uint64_t)chunks << Ticket::BITS);
        pool.call_helpers();
        const auto start = Clock::now();
        const long own = pool.compute();
        pool.wait_for(chunks, own, Clock::now() - start);
    }
    template <typename Work>
    static void run(long chunks, const Work &work) {
        run(chunks, [] {}, work);
    }
};
