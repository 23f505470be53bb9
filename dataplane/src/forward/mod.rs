//! What turns a publisher's packets into a subscriber's: publications, slots, rewriting.
