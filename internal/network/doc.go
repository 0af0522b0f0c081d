// Package network gives containers their place on one bridge: the veth pairs
// of containers and the taps of VMs are ports of it, side by side, with
// addresses of one subnet, names that a resolver on the bridge's own address
// answers, and published ports.
//
// # What is made on the host
//
//	bridge   the name given; gateway of the subnet; alias "abode DIR", so that an engine knows its own
//	links    ab<4 hex of the bridge's name><h|p|t><8 hex of the ID>: host end, peer, tap
//	nftables table "abode-<bridge>" of family ip: NAT, published ports, what may enter the subnet
//	         table "abode-<bridge>" of family ip6: the same, where the network has IPv6
//	         table "abode-<bridge>" of family bridge: no port may send with another's MAC or address
//	sysctl   forwarding, route_localnet and the like on the bridge; forwarding on the host's other
//	         interfaces, unless the host is a router already; for IPv6 forwarding as a whole
//	files    DIR/network.json: the subnet, who has which address, who had it; /run/abode-network.lock
//
// Links, rules and addresses last while the daemon is dead; the resolver and
// the reservations of host ports do not, and Recover makes them anew. Nor do
// the relays that serve ports published on ::1, which no NAT can.
//
// # Walls
//
// From the bridge a container reaches other containers, the host and, behind
// the host's address, everything that the host reaches. Into the subnet come
// answers and connections to published ports, nothing else: another host that
// routes packets for the subnet here gets none of them through. Ports that
// are published on a loopback address are reached from the host alone. A port
// of the bridge may send IPv4 and ARP with its own MAC and address, and where
// the network has IPv6, that with its own MAC, its address and the link-local
// one that follows from the MAC: neighbour discovery as far as it is about
// itself, and nothing that a router says. Everything else is dropped where it
// enters.
//
// The host's interfaces between which nothing was forwarded before get no
// traffic forwarded between them after either.
//
// # Beside other software
//
// An accept in these tables does not overrule a drop in another's. Docker sets
// the policy of iptables' FORWARD chain to drop; beside it
// `iptables -I DOCKER-USER -i <bridge> -j ACCEPT` and the same with
// `-o <bridge>` let this bridge's traffic pass. firewalld wants the bridge in
// a zone that forwards. A flush of all nftables rules takes these with it; the
// next Attach puts them back.
package network
