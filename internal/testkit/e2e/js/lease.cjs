// What there is to do with leases, of either kind.
"use strict";
const { step } = require("./steps.cjs");

// lease goes through all that can be done to a lease on something that write changes.
async function lease(resource, kind, write) {
  const [a, b] = ["11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"];
  const l = resource.getBlobLeaseClient?.(a) ?? resource.getBlobLeaseClient(a);
  await step(`${kind} lease acquire`, async () => (await l.acquireLease(15)).leaseId === a);
  await step(`${kind} lease acquire by another`, () => resource.getBlobLeaseClient(b).acquireLease(15));
  await step(`${kind} lease missing`, () => write());
  await step(`${kind} lease wrong`, () => write({ leaseId: b }));
  await step(`${kind} lease renew`, async () => (await l.renewLease()).leaseId === a);
  await step(`${kind} lease change`, async () => (await l.changeLease(b)).leaseId === b);
  await step(`${kind} lease state`, async () => { const p = await resource.getProperties(); return `${p.leaseState} ${p.leaseStatus} ${p.leaseDuration}`; });
  await step(`${kind} lease release`, async () => void await l.releaseLease());
  await step(`${kind} lease acquire forever`, async () => void await l.acquireLease(-1));
  await step(`${kind} lease break`, async () => (await l.breakLease(0)).leaseTime ?? 0);
  await step(`${kind} lease renew broken`, () => l.renewLease());
  await step(`${kind} lease release broken`, async () => void await l.releaseLease());
}

module.exports = { lease };
