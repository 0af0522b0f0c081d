package layer

// ReadsCompressed is for tests.
var ReadsCompressed = readsCompressed
