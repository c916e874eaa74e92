import { describe, expect, test } from "bun:test";
import type { NetworkInterfaceInfo } from "node:os";
import { isLoopback, localAddresses, originOf, plainHost } from "../../lib/net/addresses.ts";

function info(address: string): NetworkInterfaceInfo {
  const internal = address === "::1" || address.startsWith("127.");
  const shared = { address, netmask: "", mac: "", internal, cidr: null };
  return address.includes(":") ? { ...shared, family: "IPv6", scopeid: 0 } : { ...shared, family: "IPv4" };
}

const machine = {
  lo: [info("127.0.0.1"), info("::1")],
  docker0: [info("172.17.0.1")],
  veth12ab: [info("fe80::42"), info("2001:db8::99")],
  eth0: [info("2001:db8::5"), info("fe80::1"), info("192.168.1.20")],
  wlan0: [info("169.254.3.4"), info("10.0.0.7")],
};

describe("local addresses", () => {
  test("are ordered by how likely others reach them", () => {
    expect(localAddresses(undefined, machine)).toEqual([
      "192.168.1.20",
      "10.0.0.7",
      "2001:db8::5",
      "172.17.0.1",
      "2001:db8::99",
    ]);
  });

  test("are loopback where there is no network", () => {
    expect(localAddresses(undefined, {})).toEqual(["127.0.0.1"]);
    expect(localAddresses(undefined, { lo: machine.lo, eth0: [info("fe80::1")] })).toEqual(["127.0.0.1"]);
  });

  test("are the one that is listened on", () => {
    expect(localAddresses("10.9.8.7", machine)).toEqual(["10.9.8.7"]);
    expect(localAddresses("127.0.0.1", machine)).toEqual(["127.0.0.1"]);
  });

  test("are all of them where that one means everywhere", () => {
    expect(localAddresses("::", machine)).toEqual(localAddresses(undefined, machine));
    expect(localAddresses("0.0.0.0", machine)).toEqual(["192.168.1.20", "10.0.0.7", "172.17.0.1"]);
  });

  test("are no more than an introduction holds", () => {
    const many = { eth0: Array.from({ length: 20 }, (_, index) => info(`10.0.0.${index + 1}`)) };
    expect(localAddresses(undefined, many)).toHaveLength(8);
  });

  test("of this machine are there", () => {
    expect(localAddresses().length).toBeGreaterThan(0);
  });
});

test("an IPv4 address that came through an IPv6 socket is shown as IPv4", () => {
  expect(plainHost("::ffff:192.168.1.20")).toBe("192.168.1.20");
  expect(plainHost("::FFFF:10.0.0.1")).toBe("10.0.0.1");
  expect(plainHost("2001:db8::1")).toBe("2001:db8::1");
  expect(plainHost("::ffff:1234")).toBe("::ffff:1234");
});

test("connections are charged to an IPv4 address or to an IPv6 network of 64 bits", () => {
  expect(originOf("192.168.1.20")).toBe("192.168.1.20");
  expect(originOf("2001:db8:1:2:3:4:5:6")).toBe("2001:db8:1:2");
  expect(originOf("2001:db8:1:2::9")).toBe("2001:db8:1:2");
  expect(originOf("2001:db8::9")).toBe("2001:db8:0:0");
  expect(originOf("::1")).toBe("0:0:0:0");
  expect(originOf("fe80::1%eth0")).toBe("fe80:0:0:0");
});

test("loopback is known in both families", () => {
  expect(["127.0.0.1", "127.9.9.9", "::1"].map(isLoopback)).toEqual([true, true, true]);
  expect(["128.0.0.1", "10.127.0.0", "::2"].map(isLoopback)).toEqual([false, false, false]);
});
