// A module of its own: the charts' library and its fonts are nothing that the
// engine should carry in its list of dependencies.
module github.com/abode-run/abode/test/peers

go 1.26.8

require golang.org/x/sys v0.49.0
