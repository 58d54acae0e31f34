// Package network puts containers into networks, in which they find each other by
// name.
//
//	nw, err := network.New(ctx, e, network.Config{Out: egress.Public})
//	db, err := postgres.Run(ctx, container.Config{Network: nw.Join("db")})
//	web, err := app.Run(ctx, container.Config{Network: nw.Join(), Env: []string{"DB=db:5432"}})
//
// A network belongs to the engine that it was made with, and ends with it. It is a
// network namespace of this program's own, whose links lead into those of the
// containers: the host has no device, address, route, rule or setting of it, unless
// [Config.Masquerade] asks for some, and when the program ends, however it does, nothing
// is left.
//
// Names are answered by the engine, in each container, with the others' real
// addresses: a container's name, its id, and the aliases that it has joined with;
// "db.front" is db in the network front, for a container in several. A name is found
// as long as its container runs, and an address stays with its container for all of
// its lives. An /etc/hosts has the container's own name at its address in the
// network.
//
// The network is a router and not a switch. Each container is alone on its link, and
// a packet whose sender is not at the link that it came by is dropped: no container
// can pass for another, by its address, by ARP or by neighbour discovery, and to an
// address where there is none the answer is at once that there is no such host. There
// is no broadcast and no multicast, and others are one hop away. Packets may have
// 65520 bytes.
//
// What [Config.Out] makes of connections to the outside is told at container.Out,
// and so is what it needs of the kernel. The program is in the network too: by
// [Network.Dial] it connects to the containers, and by [Network.Listen] it serves
// them. Ports of the host are published by container.Config.Publish, as without a
// network.
//
// A network can't be used with container.Config.Detach. A container that is kept is
// in none when another program starts it again, until that has it connected
// ([Network.Connect]).
package network
