package network

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// What the tables of both families of addresses have in common.

// addRule appends a rule to a chain.
type addRule func(parts ...[]expr.Any)

// chainsOf returns what appends base chains of a table to a transaction.
func chainsOf(c *nftables.Conn, table *nftables.Table) func(string, nftables.ChainType, *nftables.ChainHook, nftables.ChainPriority) addRule {
	return func(name string, kind nftables.ChainType, hook *nftables.ChainHook, prio nftables.ChainPriority) addRule {
		policy := nftables.ChainPolicyAccept // of what is none of ours
		ch := c.AddChain(&nftables.Chain{Name: name, Table: table, Type: kind, Hooknum: hook, Priority: &prio, Policy: &policy})
		return func(parts ...[]expr.Any) {
			c.AddRule(&nftables.Rule{Table: table, Chain: ch, Exprs: matches(parts...)})
		}
	}
}

// forwardInside keeps what an internal network forwards inside.
func forwardInside(fwd addRule, cfg *Config) {
	if !cfg.Internal {
		return
	}
	fwd(oif(expr.CmpOpEq, cfg.Bridge), iif(expr.CmpOpEq, cfg.Bridge), accept())
	fwd(iif(expr.CmpOpEq, cfg.Bridge), drop())
	fwd(oif(expr.CmpOpEq, cfg.Bridge), drop())
}

// forwardIn says what may enter the network, and that nothing new is forwarded
// between the interfaces in up.
func forwardIn(fwd addRule, cfg *Config, up *nftables.Set) {
	const is = expr.CmpOpEq
	in := oif(is, cfg.Bridge)
	fwd(in, ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept())
	fwd(in, iif(is, cfg.Bridge), accept())
	// Other networks of this engine do not get in, by published ports neither.
	fwd(in, iif(is, cfg.Default), drop())
	fwd(in, iifPrefix(bridgePrefix(cfg.Default)), drop())
	fwd(in, wasDNATed(), accept())
	fwd(in, drop())
	fwd([]expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg0}}, inSet(up),
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg0}}, inSet(up),
		ctState(expr.CtStateBitNEW), drop())
}
