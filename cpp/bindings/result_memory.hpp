// Memory of large fresh results. The pages of a new array cost more to get than the result to
// compute, so the memory of the last results that were dropped is kept for the next of their size.
#pragma once

namespace softstep::bindings {

// Gives back what is kept and not in use.
void release_results();

} // namespace softstep::bindings
