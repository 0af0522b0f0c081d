// Package api serves the Docker Engine API, and beside it under /abode/ what
// Docker has no word for, on top of an engine.
//
// Every endpoint is a handler: it reads the request, calls the engine, and
// writes the response or returns an error. One table (errors.go) turns errors
// into HTTP statuses. There is one file for each noun of the API; what the
// nouns share is in router.go, request.go, filters.go, stream.go, progress.go
// and hijack.go. compat.go holds what clients older than the newest API
// version expect to be different.
//
// A request's context ends when its client hangs up, and every handler hands
// it on, so that work which nobody waits for ends too.
package api
