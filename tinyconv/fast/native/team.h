/* Threads that share the blocks of a task. They stay, and look for the next task for about a millisecond before they
 * sleep: waking one that sleeps takes 50 us, as long as a convolution of LeNet's. While they look they give way to
 * whoever else wants the core, as BLAS's threads do, which do the same; OpenMP's do not, and with both in one program a
 * step of LeNet takes three times as long.
 */
#pragma once
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

enum { MOST = 64, LOOKS = 2000 };

/* What a task does with one block of images, and with scratch memory of its thread. */
typedef void work(const void *task, int64_t block, void *scratch);

static struct {
    pthread_mutex_t busy, lock; /* busy: one task at a time; lock: for those who sleep */
    pthread_cond_t wake;
    int members, asleep; /* of the threads below, how many there are, and sleep */
    atomic_llong number; /* of tasks so far */
    atomic_llong next, at_work;
    const void *now;
    work *function;
    int64_t blocks, threads, stride;
    char *scratch;
} team = {.busy = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static void take_blocks(int64_t member) {
    /* Relaxed: whoever takes a block has nothing to learn from who took the one before. (The sanitizer of threads would
     * take it for an order between the two, and find no race of theirs.) */
    for (int64_t block; (block = atomic_fetch_add_explicit(&team.next, 1, memory_order_relaxed)) < team.blocks;)
        team.function(team.now, block, team.scratch + member * team.stride);
}

static void *be_member(void *argument) {
    int64_t member = (intptr_t)argument, seen = atomic_load(&team.number);
    atomic_fetch_sub(&team.at_work, 1); /* it is there */
    for (;;) {
        for (int look = 0; look < LOOKS && atomic_load(&team.number) == seen; look++) sched_yield();
        if (atomic_load(&team.number) == seen) {
            pthread_mutex_lock(&team.lock);
            team.asleep++;
            while (atomic_load(&team.number) == seen) pthread_cond_wait(&team.wake, &team.lock);
            team.asleep--;
            pthread_mutex_unlock(&team.lock);
        }
        seen = atomic_load(&team.number);
        if (member < team.threads) take_blocks(member);
        atomic_fetch_sub(&team.at_work, 1);
    }
    return 0;
}

static void wait_for_members(void) {
    while (atomic_load(&team.at_work)) sched_yield();
}

/* Every block of a task, by `threads` threads (the caller is one), each with `stride` bytes of the scratch. What
 * a block gives must not depend on who does it. Where another task is under way the caller does it alone. */
static void share(const void *task, work *function, int64_t blocks, int64_t threads, void *scratch, int64_t stride) {
    if (threads > MOST) threads = MOST;
    if (threads < 2 || pthread_mutex_trylock(&team.busy)) {
        for (int64_t block = 0; block < blocks; block++) function(task, block, scratch);
        return;
    }
    while (team.members + 1 < threads) {
        pthread_t thread;
        atomic_fetch_add(&team.at_work, 1);
        if (pthread_create(&thread, 0, be_member, (void *)(intptr_t)(team.members + 1))) {
            atomic_fetch_sub(&team.at_work, 1);
            break;
        }
        pthread_detach(thread);
        team.members++;
        wait_for_members();
    }
    team.now = task, team.function = function, team.blocks = blocks, team.threads = threads;
    team.scratch = scratch, team.stride = stride;
    atomic_store(&team.next, 0);
    atomic_store(&team.at_work, team.members);
    pthread_mutex_lock(&team.lock);
    atomic_fetch_add(&team.number, 1);
    if (team.asleep) pthread_cond_broadcast(&team.wake);
    pthread_mutex_unlock(&team.lock);
    take_blocks(0);
    wait_for_members();
    pthread_mutex_unlock(&team.busy);
}
