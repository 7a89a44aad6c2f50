"""Runs every act at the same time, each on a tenant and a key of its own, beside tenants that do nothing."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

from benchmarks.revocation import aws, azure, ministack
from benchmarks.revocation.acts import Act, OwnKey, Tenant
from benchmarks.revocation.course import Course, Pace, Timing, count_lost, with_own_key
from benchmarks.revocation.refusals import Refusals, TimedAzure, TimedKms
from benchmarks.revocation.service import SET_UP_TOGETHER, Deployment, deployed, wait_until_served
from benchmarks.revocation.use import Use
from functions.emulators.azure_wire import serve as serve_azure
from functions.emulators.kms import LOCAL_ACCESS_KEY_ID, LOCAL_PRINCIPAL, LOCAL_SECRET_ACCESS_KEY
from functions.emulators.wire import serve
from functions.settings import LOCAL_AZURE
from tests.aws.ministack import started

Say = Callable[[str], None]
SEED = 20_260_101


@dataclass(frozen=True)
class Bystander:
    """A tenant that does nothing while others withdraw their keys.

    Attributes:
        tenant: The tenant.
        cloud: Where its key lies.
        calls: Calls made for it.
        failed: Of them, not served, by error code.
        messages: Messages encrypted.
        lost: Of them, not to be decrypted afterwards, over both workers.
    """

    tenant: str
    cloud: str
    calls: int
    failed: Mapping[str, int] = field(default_factory=dict)
    messages: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Site:
    """A deployment, its clouds, and who does what there.

    Attributes:
        deployment: The service.
        refusals: What its clouds refused.
        acts: What tenants do.
        bystanders: Others, by tenant: where the key lies, and how it is made.
    """

    deployment: Deployment
    refusals: Refusals
    acts: Sequence[Act]
    bystanders: Mapping[str, tuple[str, Callable[[Tenant], OwnKey]]]


@contextmanager
def emulators(directory: Path, variables: Mapping[str, str], *, every: float) -> Iterator[Site]:
    """The service over this repository's emulators of AWS and Azure, with a canary key for each way to reach keys.

    Args:
        directory: Empty.
        variables: Settings of the service besides.
        every: As in `deployed`.
    """
    refusals = Refusals()
    kms, vaults = TimedKms(refusals), TimedAzure(refusals)
    kms.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL)
    vaults.add_application(*LOCAL_AZURE)
    with ExitStack() as stack:
        on_aws = stack.enter_context(serve(kms))
        on_azure = stack.enter_context(serve_azure(vaults, ca_file=directory / "ca.pem"))
        in_aws = aws.AwsCustomers(on_aws.url)
        in_azure = azure.AzureCustomers(on_azure.url, on_azure.ca_file)
        canaries = [asdict(canary) for canary in (*in_aws.canaries(), *in_azure.canaries())]
        settings = {
            "KEYSTEAD_AWS_ENDPOINT_URL": on_aws.url,
            "KEYSTEAD_AZURE_EMULATOR": on_azure.dial,
            "KEYSTEAD_AZURE_EMULATOR_CA": on_azure.ca_file,
            "KEYSTEAD_CANARIES": json.dumps(canaries),
            **variables,
        }
        deployment = stack.enter_context(deployed(directory, settings, every=every))
        bystanders = {
            "aws-bystander": (aws.CLOUD, in_aws.disabled),
            "az-bystander": (azure.CLOUD, in_azure.disabled),
        }
        yield Site(deployment, refusals, (*aws.acts(in_aws), *azure.acts(in_azure)), bystanders)


@contextmanager
def on_ministack(directory: Path, variables: Mapping[str, str], *, every: float) -> Iterator[Site]:
    """The service over ministack, without canary keys. Arguments as in `emulators`."""
    refusals = Refusals()
    with ExitStack() as stack:
        server = started(directory)
        stack.callback(server.stop)
        customers = ministack.MinistackCustomers.of(server)
        url = stack.enter_context(ministack.front(customers, refusals))
        settings = {"KEYSTEAD_AWS_ENDPOINT_URL": url, **variables}
        deployment = stack.enter_context(deployed(directory, settings, every=every))
        acts = ministack.acts(customers)
        yield Site(deployment, refusals, acts, {"ms-bystander": (ministack.CLOUD, acts[0].make)})


@dataclass(frozen=True)
class Withdrawals:
    """What was measured.

    Attributes:
        timings: Of every act.
        bystanders: The others.
    """

    timings: Sequence[Timing]
    bystanders: Sequence[Bystander]


def run(sites: Sequence[Site], pace: Pace, say: Say, only: Callable[[Act], bool] = lambda _: True) -> Withdrawals:
    """Run the acts of every site; everything that was measured.

    Args:
        sites: Running.
        pace: How long everything takes.
        say: Told what is under way.
        only: Which acts.

    Raises:
        NotServed: A worker does not serve a tenant before there is an act.
    """
    random = Random(SEED)
    courses = [
        Course(act, site.deployment, site.refusals, pace, random.random())
        for site in sites
        for act in filter(only, site.acts)
    ]
    idle = [(site, name, *made) for site in sites for name, made in site.bystanders.items()]
    say(f"keys of their own for {len(courses) + len(idle)} tenants")
    with ThreadPoolExecutor(SET_UP_TOGETHER) as pool:
        waiting = [pool.submit(with_own_key, s.deployment, name, make, pace.lease) for s, name, _, make in idle]
        keys = list(pool.map(Course.set_up, courses))
        for each in waiting:
            each.result()
    bystanders = [(site, name, cloud, site.deployment.use(name)) for site, name, cloud, _ in idle]
    uses = [course.use() for course in courses]
    time.sleep(pace.warm)
    wait_until_served(use for pair in (*uses, *(pair for *_, pair in bystanders)) for use in pair)
    say(f"{len(courses)} acts of withdrawal")
    with ThreadPoolExecutor(len(courses), thread_name_prefix="course") as pool:
        timings = list(pool.map(Course.run, courses, keys, uses))
    say("what was encrypted meanwhile")
    return Withdrawals(timings, [_ended(*bystander) for bystander in bystanders])


def _ended(site: Site, tenant_id: str, cloud: str, uses: Sequence[Use]) -> Bystander:
    for use in uses:
        use.stop()
    outcomes = [outcome for use in uses for outcome in use.outcomes]
    failed = Counter(outcome.code for outcome in outcomes if not outcome.served)
    return Bystander(tenant_id, cloud, len(outcomes), failed, *count_lost(site.deployment, tenant_id, uses))
