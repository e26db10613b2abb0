// What the pool asks of the operating system.
#pragma once

namespace softstep::parallel::detail {

// Starts a detached thread that runs work(index) for ever; false if there is none to be had.
bool start_thread(void (*work)(int), int index);

// Gives all threads started so far the affinity mask that the calling thread has now.
void follow_affinity();

} // namespace softstep::parallel::detail
