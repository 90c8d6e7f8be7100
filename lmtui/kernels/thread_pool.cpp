// The number of threads of a library, part of each.

#include "thread_pool.h"

extern "C" void set_threads(long threads) { ThreadPool::set_threads(threads); }
