// Package allocator hands out what services are given: cluster IPs and node
// ports, and repairs the record of both.
//
// Cluster IPs come from the ranges of ServiceCIDR objects, and each one in use is
// an IPAddress object that refers to its service (KEP-1880), so that several API
// servers may allocate at once: whoever creates the object has the address. Node
// ports are a bitmap under the key ranges/servicenodeports, as upstream keeps it.
//
// Pure: [Range] and [PortSet] (what is in a range and what comes next),
// [CheckService], [CheckAddress] and [RebuildPorts] (what is wrong with the
// record). I/O: [Addresses], [Ports], [Repair], [DefaultCIDR].
package allocator
