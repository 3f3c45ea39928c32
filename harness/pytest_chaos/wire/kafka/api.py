"""What wire knows of Kafka's requests: names, versions, what each is about, where an answer says what went wrong. Pure.

The facts are those of Kafka's own message definitions (`clients/src/main/resources/common/message` in its sources) up
to 4.1. A version that is newer than those here is passed on by its name alone.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

# By API key from 0: the name and, where there is one, the first version with tagged fields.
_APIS = """
Produce:9 Fetch:12 ListOffsets:6 Metadata:9 LeaderAndIsr:4 StopReplica:2 UpdateMetadata:6 ControlledShutdown:3
OffsetCommit:8 OffsetFetch:6 FindCoordinator:3 JoinGroup:6 Heartbeat:4 LeaveGroup:4 SyncGroup:4 DescribeGroups:5
ListGroups:3 SaslHandshake ApiVersions:3 CreateTopics:5 DeleteTopics:4 DeleteRecords:2 InitProducerId:2
OffsetForLeaderEpoch:4 AddPartitionsToTxn:3 AddOffsetsToTxn:3 EndTxn:3 WriteTxnMarkers:1 TxnOffsetCommit:3
DescribeAcls:2 CreateAcls:2 DeleteAcls:2 DescribeConfigs:4 AlterConfigs:2 AlterReplicaLogDirs:2 DescribeLogDirs:2
SaslAuthenticate:2 CreatePartitions:2 CreateDelegationToken:2 RenewDelegationToken:2 ExpireDelegationToken:2
DescribeDelegationToken:2 DeleteGroups:2 ElectLeaders:2 IncrementalAlterConfigs:1 AlterPartitionReassignments:0
ListPartitionReassignments:0 OffsetDelete DescribeClientQuotas:1 AlterClientQuotas:1 DescribeUserScramCredentials:0
AlterUserScramCredentials:0 Vote:0 BeginQuorumEpoch:1 EndQuorumEpoch:1 DescribeQuorum:0 AlterPartition:0
UpdateFeatures:0 Envelope:0 FetchSnapshot:0 DescribeCluster:0 DescribeProducers:0 BrokerRegistration:0
BrokerHeartbeat:0 UnregisterBroker:0 DescribeTransactions:0 ListTransactions:0 AllocateProducerIds:0
ConsumerGroupHeartbeat:0 ConsumerGroupDescribe:0 ControllerRegistration:0 GetTelemetrySubscriptions:0 PushTelemetry:0
AssignReplicasToDirs:0 ListConfigResources:0 DescribeTopicPartitions:0 ShareGroupHeartbeat:0 ShareGroupDescribe:0
ShareFetch:0 ShareAcknowledge:0 AddRaftVoter:0 RemoveRaftVoter:0 UpdateRaftVoter:0 InitializeShareGroupState:0
ReadShareGroupState:0 WriteShareGroupState:0 DeleteShareGroupState:0 ReadShareGroupStateSummary:0
StreamsGroupHeartbeat:0 StreamsGroupDescribe:0 DescribeShareGroupOffsets:0 AlterShareGroupOffsets:0
DeleteShareGroupOffsets:0
"""
NAMES: tuple[str, ...] = tuple(entry.partition(":")[0] for entry in _APIS.split())
FLEXIBLE: tuple[int | None, ...] = tuple(
    int(first) if (first := entry.partition(":")[2]) else None for entry in _APIS.split()
)

PRODUCE, METADATA, SASL_HANDSHAKE, API_VERSIONS = (
    NAMES.index(name) for name in ("Produce", "Metadata", "SaslHandshake", "ApiVersions")
)

# What a client does by itself, for nobody's operation: to find its broker, to stay in its group, to look for records.
_BACKGROUND = frozenset({
    "Fetch", "ListOffsets", "Metadata", "OffsetFetch", "FindCoordinator", "JoinGroup", "Heartbeat", "LeaveGroup",
    "SyncGroup", "SaslHandshake", "ApiVersions", "InitProducerId", "OffsetForLeaderEpoch", "SaslAuthenticate",
    "ConsumerGroupHeartbeat", "GetTelemetrySubscriptions", "PushTelemetry", "ShareGroupHeartbeat", "ShareFetch",
    "StreamsGroupHeartbeat",
})  # fmt: skip

_LATEST = {
    "Produce": 13, "Fetch": 18, "ListOffsets": 10, "Metadata": 13, "OffsetCommit": 10, "OffsetFetch": 10,
    "FindCoordinator": 6, "JoinGroup": 9, "Heartbeat": 4, "LeaveGroup": 5, "SyncGroup": 5, "DescribeGroups": 6,
    "ApiVersions": 4, "CreateTopics": 7, "DeleteTopics": 6, "DeleteRecords": 2, "InitProducerId": 6,
    "OffsetForLeaderEpoch": 4, "AddPartitionsToTxn": 5, "AddOffsetsToTxn": 4, "EndTxn": 5, "TxnOffsetCommit": 5,
    "DescribeConfigs": 4, "SaslHandshake": 1, "SaslAuthenticate": 2, "CreatePartitions": 3, "DeleteGroups": 2,
    "IncrementalAlterConfigs": 1, "OffsetDelete": 0, "DescribeCluster": 2, "ConsumerGroupHeartbeat": 1,
    "ConsumerGroupDescribe": 1, "ShareGroupHeartbeat": 1, "ShareFetch": 1, "ShareAcknowledge": 1,
    "StreamsGroupHeartbeat": 0, "DescribeTopicPartitions": 0,
}  # fmt: skip
"""The newest version whose layout is known here."""

Layouts = Mapping[str, Mapping[int, str]]

REQUESTS: Layouts = {
    "Produce": {0: "Ai[S[iR]]", 3: "sAi[S[iR]]", 13: "sAi[U[iR]]"},
    "Fetch": {0: "iii[S]", 3: "iiii[S]", 4: "iiiib[S]", 7: "iiiibii[S]", 13: "iiiibii[U]", 15: "iiibii[U]"},
    "ListOffsets": {0: "i[S]", 2: "ib[S]"},
    "OffsetCommit": {0: "S"},
    "OffsetFetch": {0: "S", 8: "[S]"},
    "FindCoordinator": {0: "S", 4: "b[S]"},
    "JoinGroup": {0: "S"},
    "Heartbeat": {0: "S"},
    "LeaveGroup": {0: "S"},
    "SyncGroup": {0: "S"},
    "DescribeGroups": {0: "[S]"},
    "CreateTopics": {0: "[S]"},
    "DeleteTopics": {0: "[S]"},
    "DeleteRecords": {0: "[S]"},
    "InitProducerId": {0: "S"},
    "OffsetForLeaderEpoch": {0: "[S]", 3: "i[S]"},
    "AddPartitionsToTxn": {0: "S", 4: "[S]"},
    "AddOffsetsToTxn": {0: "S"},
    "EndTxn": {0: "S"},
    "TxnOffsetCommit": {0: "sS"},
    "DescribeConfigs": {0: "[bS]"},
    "CreatePartitions": {0: "[S]"},
    "DeleteGroups": {0: "[S]"},
    "IncrementalAlterConfigs": {0: "[bS]"},
    "OffsetDelete": {0: "S"},
    "ConsumerGroupHeartbeat": {0: "S"},
    "ConsumerGroupDescribe": {0: "[S]"},
    "ShareGroupHeartbeat": {0: "S"},
    "ShareFetch": {0: "S"},
    "ShareAcknowledge": {0: "S"},
    "StreamsGroupHeartbeat": {0: "S"},
    "DescribeTopicPartitions": {0: "[S]"},
}
"""By first version: the way to what a request is about (topic, group, transaction, key), in its first element."""

ANSWERS: Layouts = {
    "Produce": {
        0: "[s[iEq]]", 2: "[s[iEqq]]", 5: "[s[iEqqq]]", 8: "[s[iEqqq[is]s]]", 13: "[u[iEqqq[is]s]]",
    },
    "Fetch": {7: "iE"},
    "OffsetCommit": {0: "[s[iE]]", 3: "i[s[iE]]", 10: "i[u[iE]]"},
    "FindCoordinator": {0: "E", 1: "iE", 4: "i[sisiEs]"},
    "JoinGroup": {0: "E", 2: "iE"},
    "Heartbeat": {0: "E", 1: "iE"},
    "LeaveGroup": {0: "E", 1: "iE", 3: "iE[ssE]"},
    "SyncGroup": {0: "E", 1: "iE"},
    "SaslHandshake": {0: "E"},
    "ApiVersions": {0: "E"},
    "InitProducerId": {0: "iE"},
    "AddPartitionsToTxn": {0: "i[s[iE]]", 4: "iE[s[s[iE]]]"},
    "AddOffsetsToTxn": {0: "iE"},
    "EndTxn": {0: "iE"},
    "TxnOffsetCommit": {0: "i[s[iE]]"},
    "SaslAuthenticate": {0: "E"},
    "ConsumerGroupHeartbeat": {0: "iE"},
    "ShareGroupHeartbeat": {0: "iE"},
    "ShareFetch": {0: "iE"},
    "ShareAcknowledge": {0: "iE"},
    "StreamsGroupHeartbeat": {0: "iE"},
}  # fmt: skip
"""By first version: the way to an answer's error codes."""

TOPIC_IDS: Layouts = {"Metadata": {10: "i[isis]si[hSUb[hiii*i*i*i]i]"}}
"""The way to topics' names and ids, which newer requests give in place of names (KIP-516)."""

_NODE = "[NHPs]"
ADDRESSES: Layouts = {
    "Produce": {10: f"[s[ihqqq[is]s]]i{{{_NODE}}}", 13: f"[u[ihqqq[is]s]]i{{{_NODE}}}"},
    "Fetch": {16: f"ihi[u[ihqqq[qq]iy]]{{{_NODE}}}"},
    "Metadata": {0: "[NHP]", 1: _NODE, 3: f"i{_NODE}"},
    "FindCoordinator": {0: "hNHP", 1: "ihsNHP", 4: "i[sNHPhs]"},
    "DescribeCluster": {0: f"ihssi{_NODE}", 1: f"ihsbsi{_NODE}", 2: "ihsbsi[NHPsb]"},
    "ShareFetch": {1: f"ihsi[u[ihshs(ii)y[qqh]]]{_NODE}"},
    "ShareAcknowledge": {0: f"ihs[u[ihs(ii)]]{_NODE}"},
}
"""The way to the addresses that an answer advertises (Produce and Fetch: of new leaders, KIP-951)."""

# By error code from -1, as in Kafka's protocol guide.
_ERRORS = """
UNKNOWN_SERVER_ERROR NONE OFFSET_OUT_OF_RANGE CORRUPT_MESSAGE UNKNOWN_TOPIC_OR_PARTITION INVALID_FETCH_SIZE
LEADER_NOT_AVAILABLE NOT_LEADER_OR_FOLLOWER REQUEST_TIMED_OUT BROKER_NOT_AVAILABLE REPLICA_NOT_AVAILABLE
MESSAGE_TOO_LARGE STALE_CONTROLLER_EPOCH OFFSET_METADATA_TOO_LARGE NETWORK_EXCEPTION COORDINATOR_LOAD_IN_PROGRESS
COORDINATOR_NOT_AVAILABLE NOT_COORDINATOR INVALID_TOPIC_EXCEPTION RECORD_LIST_TOO_LARGE NOT_ENOUGH_REPLICAS
NOT_ENOUGH_REPLICAS_AFTER_APPEND INVALID_REQUIRED_ACKS ILLEGAL_GENERATION INCONSISTENT_GROUP_PROTOCOL INVALID_GROUP_ID
UNKNOWN_MEMBER_ID INVALID_SESSION_TIMEOUT REBALANCE_IN_PROGRESS INVALID_COMMIT_OFFSET_SIZE TOPIC_AUTHORIZATION_FAILED
GROUP_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED INVALID_TIMESTAMP UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE
UNSUPPORTED_VERSION TOPIC_ALREADY_EXISTS INVALID_PARTITIONS INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT
INVALID_CONFIG NOT_CONTROLLER INVALID_REQUEST UNSUPPORTED_FOR_MESSAGE_FORMAT POLICY_VIOLATION
OUT_OF_ORDER_SEQUENCE_NUMBER DUPLICATE_SEQUENCE_NUMBER INVALID_PRODUCER_EPOCH INVALID_TXN_STATE
INVALID_PRODUCER_ID_MAPPING INVALID_TRANSACTION_TIMEOUT CONCURRENT_TRANSACTIONS TRANSACTION_COORDINATOR_FENCED
TRANSACTIONAL_ID_AUTHORIZATION_FAILED SECURITY_DISABLED OPERATION_NOT_ATTEMPTED KAFKA_STORAGE_ERROR LOG_DIR_NOT_FOUND
SASL_AUTHENTICATION_FAILED UNKNOWN_PRODUCER_ID REASSIGNMENT_IN_PROGRESS DELEGATION_TOKEN_AUTH_DISABLED
DELEGATION_TOKEN_NOT_FOUND DELEGATION_TOKEN_OWNER_MISMATCH DELEGATION_TOKEN_REQUEST_NOT_ALLOWED
DELEGATION_TOKEN_AUTHORIZATION_FAILED DELEGATION_TOKEN_EXPIRED INVALID_PRINCIPAL_TYPE NON_EMPTY_GROUP GROUP_ID_NOT_FOUND
FETCH_SESSION_ID_NOT_FOUND INVALID_FETCH_SESSION_EPOCH LISTENER_NOT_FOUND TOPIC_DELETION_DISABLED FENCED_LEADER_EPOCH
UNKNOWN_LEADER_EPOCH UNSUPPORTED_COMPRESSION_TYPE STALE_BROKER_EPOCH OFFSET_NOT_AVAILABLE MEMBER_ID_REQUIRED
PREFERRED_LEADER_NOT_AVAILABLE GROUP_MAX_SIZE_REACHED FENCED_INSTANCE_ID ELIGIBLE_LEADERS_NOT_AVAILABLE
ELECTION_NOT_NEEDED NO_REASSIGNMENT_IN_PROGRESS GROUP_SUBSCRIBED_TO_TOPIC INVALID_RECORD UNSTABLE_OFFSET_COMMIT
THROTTLING_QUOTA_EXCEEDED PRODUCER_FENCED RESOURCE_NOT_FOUND DUPLICATE_RESOURCE UNACCEPTABLE_CREDENTIAL
INCONSISTENT_VOTER_SET INVALID_UPDATE_VERSION FEATURE_UPDATE_FAILED PRINCIPAL_DESERIALIZATION_FAILURE SNAPSHOT_NOT_FOUND
POSITION_OUT_OF_RANGE UNKNOWN_TOPIC_ID DUPLICATE_BROKER_REGISTRATION BROKER_ID_NOT_REGISTERED INCONSISTENT_TOPIC_ID
INCONSISTENT_CLUSTER_ID TRANSACTIONAL_ID_NOT_FOUND FETCH_SESSION_TOPIC_ID_ERROR INELIGIBLE_REPLICA NEW_LEADER_ELECTED
OFFSET_MOVED_TO_TIERED_STORAGE FENCED_MEMBER_EPOCH UNRELEASED_INSTANCE_ID UNSUPPORTED_ASSIGNOR STALE_MEMBER_EPOCH
MISMATCHED_ENDPOINT_TYPE UNSUPPORTED_ENDPOINT_TYPE UNKNOWN_CONTROLLER_ID UNKNOWN_SUBSCRIPTION_ID TELEMETRY_TOO_LARGE
INVALID_REGISTRATION TRANSACTION_ABORTABLE INVALID_RECORD_STATE SHARE_SESSION_NOT_FOUND INVALID_SHARE_SESSION_EPOCH
FENCED_STATE_EPOCH INVALID_VOTER_KEY DUPLICATE_VOTER VOTER_NOT_FOUND INVALID_REGULAR_EXPRESSION REBOOTSTRAP_REQUIRED
STREAMS_INVALID_TOPOLOGY STREAMS_INVALID_TOPOLOGY_EPOCH STREAMS_TOPOLOGY_FENCED SHARE_SESSION_LIMIT_REACHED
"""
_CODES = dict(enumerate(_ERRORS.split(), start=-1))


def error_name(code: int) -> str:
    """Name an error code; the number itself where it is none that is known."""
    return _CODES.get(code, f"ERROR_{code}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is known of one version of one kind of request; a layout is empty where nothing is needed or known."""

    key: int
    version: int
    name: str
    flexible: bool
    """Whether its body, and its request's header, has tagged fields."""
    flexible_answer: bool
    """Whether its answer's header has them: never that of ApiVersions, which must be readable before versions are."""
    background: bool
    request: str
    answer: str
    topic_ids: str
    addresses: str


@functools.lru_cache(maxsize=512)
def shape(key: int, version: int) -> Shape:
    """Give what is known of a version of a request; an unknown one is taken for what it most likely is."""
    known = key < len(NAMES)
    name = NAMES[key] if known else f"ApiKey {key}"
    first = FLEXIBLE[key] if known else 0
    flexible = first is not None and version >= first
    latest = _LATEST.get(name, -1)

    def layout(of: Layouts) -> str:
        if version > latest or name not in of:
            return ""
        return next((of[name][start] for start in sorted(of[name], reverse=True) if start <= version), "")

    return Shape(
        key=key,
        version=version,
        name=name,
        flexible=flexible,
        flexible_answer=flexible and key != API_VERSIONS,
        background=name in _BACKGROUND,
        request=layout(REQUESTS),
        answer=layout(ANSWERS),
        topic_ids=layout(TOPIC_IDS),
        addresses=layout(ADDRESSES),
    )
