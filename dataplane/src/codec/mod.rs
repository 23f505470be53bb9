//! What a router must know of a payload: where a picture starts, whether it can be decoded on its
//! own, which layer it is of. Views over payload bytes; no state, no allocation.
