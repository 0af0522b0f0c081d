// Package networks keeps the networks that users define beside an engine's
// default one. Each is a network.Network with a bridge, a subnet, tables and a
// resolver of its own, so that names and packets do not get from one to
// another.
//
// What a network is lies in DIR/ID.json, until it is removed; who has which
// address in it lies in RUN/ID, which a reboot may clear. Its bridge is made
// with it, and by a later daemon with the first container. A removal is written down before it begins: what a
// crash leaves of it, the next Open takes away.
package networks
