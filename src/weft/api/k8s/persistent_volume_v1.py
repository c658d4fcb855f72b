"""Kubernetes persistent/volume/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from collections.abc import Mapping

from msgspec import Struct, field

from weft.api.k8s.core_v1 import ObjectReference
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.pod_v1 import NodeSelector
from weft.api.k8s.volume_v1 import (
    AWSElasticBlockStoreVolumeSource,
    AzureDiskVolumeSource,
    FCVolumeSource,
    FlockerVolumeSource,
    GCEPersistentDiskVolumeSource,
    HostPathVolumeSource,
    NFSVolumeSource,
    PersistentVolumeClaimSpec,
    PhotonPersistentDiskVolumeSource,
    PortworxVolumeSource,
    QuobyteVolumeSource,
    VsphereVirtualDiskVolumeSource,
)


class AzureFilePersistentVolumeSource(Struct, frozen=True, omit_defaults=True):
    """AzureFile represents an Azure File Service mount on the host and bind mount to ...."""

    read_only: bool | None = field(default=None, name="readOnly")
    secret_name: str = field(default="", name="secretName")
    secret_namespace: str = field(default="", name="secretNamespace")
    share_name: str = field(default="", name="shareName")


class SecretReference(Struct, frozen=True, omit_defaults=True):
    """SecretReference represents a Secret Reference."""

    name: str = field(default="", name="name")
    namespace: str = field(default="", name="namespace")


class CSIPersistentVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents storage that is managed by an external CSI volume driver."""

    controller_expand_secret_ref: SecretReference | None = field(
        default=None, name="controllerExpandSecretRef"
    )
    controller_publish_secret_ref: SecretReference | None = field(
        default=None, name="controllerPublishSecretRef"
    )
    driver: str = field(default="", name="driver")
    fs_type: str = field(default="", name="fsType")
    node_expand_secret_ref: SecretReference | None = field(default=None, name="nodeExpandSecretRef")
    node_publish_secret_ref: SecretReference | None = field(
        default=None, name="nodePublishSecretRef"
    )
    node_stage_secret_ref: SecretReference | None = field(default=None, name="nodeStageSecretRef")
    read_only: bool | None = field(default=None, name="readOnly")
    volume_attributes: Mapping[str, str] = field(default_factory=dict, name="volumeAttributes")
    volume_handle: str = field(default="", name="volumeHandle")


class CephFSPersistentVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a Ceph Filesystem mount that lasts the lifetime of a pod Cephfs ...."""

    monitors: tuple[str, ...] = field(default=(), name="monitors")
    path: str = field(default="", name="path")
    read_only: bool | None = field(default=None, name="readOnly")
    secret_file: str = field(default="", name="secretFile")
    secret_ref: SecretReference | None = field(default=None, name="secretRef")
    user: str = field(default="", name="user")


class CinderPersistentVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a cinder volume resource in Openstack."""

    fs_type: str = field(default="", name="fsType")
    read_only: bool | None = field(default=None, name="readOnly")
    secret_ref: SecretReference | None = field(default=None, name="secretRef")
    volume_id: str = field(default="", name="volumeID")


class FlexPersistentVolumeSource(Struct, frozen=True, omit_defaults=True):
    """FlexPersistentVolumeSource represents a generic persistent volume resource that ...."""

    driver: str = field(default="", name="driver")
    fs_type: str = field(default="", name="fsType")
    options: Mapping[str, str] = field(default_factory=dict, name="options")
    read_only: bool | None = field(default=None, name="readOnly")
    secret_ref: SecretReference | None = field(default=None, name="secretRef")


class GlusterfsPersistentVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a Glusterfs mount that lasts the lifetime of a pod."""

    endpoints: str = field(default="", name="endpoints")
    endpoints_namespace: str = field(default="", name="endpointsNamespace")
    path: str = field(default="", name="path")
    read_only: bool | None = field(default=None, name="readOnly")


class ISCSIPersistentVolumeSource(Struct, frozen=True, omit_defaults=True):
    """ISCSIPersistentVolumeSource represents an ISCSI disk."""

    chap_auth_discovery: bool | None = field(default=None, name="chapAuthDiscovery")
    chap_auth_session: bool | None = field(default=None, name="chapAuthSession")
    fs_type: str = field(default="", name="fsType")
    initiator_name: str = field(default="", name="initiatorName")
    iqn: str = field(default="", name="iqn")
    iscsi_interface: str = field(default="", name="iscsiInterface")
    lun: int | None = field(default=None, name="lun")
    portals: tuple[str, ...] = field(default=(), name="portals")
    read_only: bool | None = field(default=None, name="readOnly")
    secret_ref: SecretReference | None = field(default=None, name="secretRef")
    target_portal: str = field(default="", name="targetPortal")


class LocalVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Local represents directly-attached storage with node affinity."""

    fs_type: str = field(default="", name="fsType")
    path: str = field(default="", name="path")


class ModifyVolumeStatus(Struct, frozen=True, omit_defaults=True):
    """ModifyVolumeStatus represents the status object of ControllerModifyVolume operation."""

    status: str = field(default="", name="status")
    target_volume_attributes_class_name: str = field(
        default="", name="targetVolumeAttributesClassName"
    )


class RBDPersistentVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a Rados Block Device mount that lasts the lifetime of a pod."""

    fs_type: str = field(default="", name="fsType")
    image: str = field(default="", name="image")
    keyring: str = field(default="", name="keyring")
    monitors: tuple[str, ...] = field(default=(), name="monitors")
    pool: str = field(default="", name="pool")
    read_only: bool | None = field(default=None, name="readOnly")
    secret_ref: SecretReference | None = field(default=None, name="secretRef")
    user: str = field(default="", name="user")


class ScaleIOPersistentVolumeSource(Struct, frozen=True, omit_defaults=True):
    """ScaleIOPersistentVolumeSource represents a persistent ScaleIO volume."""

    fs_type: str = field(default="", name="fsType")
    gateway: str = field(default="", name="gateway")
    protection_domain: str = field(default="", name="protectionDomain")
    read_only: bool | None = field(default=None, name="readOnly")
    secret_ref: SecretReference | None = field(default=None, name="secretRef")
    ssl_enabled: bool | None = field(default=None, name="sslEnabled")
    storage_mode: str = field(default="", name="storageMode")
    storage_pool: str = field(default="", name="storagePool")
    system: str = field(default="", name="system")
    volume_name: str = field(default="", name="volumeName")


class StorageOSPersistentVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a StorageOS persistent volume resource."""

    fs_type: str = field(default="", name="fsType")
    read_only: bool | None = field(default=None, name="readOnly")
    secret_ref: ObjectReference | None = field(default=None, name="secretRef")
    volume_name: str = field(default="", name="volumeName")
    volume_namespace: str = field(default="", name="volumeNamespace")


class VolumeNodeAffinity(Struct, frozen=True, omit_defaults=True):
    """VolumeNodeAffinity defines constraints that limit what nodes this volume can be ...."""

    required: NodeSelector | None = field(default=None, name="required")


class PersistentVolumeSpec(Struct, frozen=True, omit_defaults=True):
    """PersistentVolumeSpec is the specification of a persistent volume."""

    access_modes: tuple[str, ...] = field(default=(), name="accessModes")
    aws_elastic_block_store: AWSElasticBlockStoreVolumeSource | None = field(
        default=None, name="awsElasticBlockStore"
    )
    azure_disk: AzureDiskVolumeSource | None = field(default=None, name="azureDisk")
    azure_file: AzureFilePersistentVolumeSource | None = field(default=None, name="azureFile")
    capacity: Mapping[str, str | int | float] = field(default_factory=dict, name="capacity")
    cephfs: CephFSPersistentVolumeSource | None = field(default=None, name="cephfs")
    cinder: CinderPersistentVolumeSource | None = field(default=None, name="cinder")
    claim_ref: ObjectReference | None = field(default=None, name="claimRef")
    csi: CSIPersistentVolumeSource | None = field(default=None, name="csi")
    fc: FCVolumeSource | None = field(default=None, name="fc")
    flex_volume: FlexPersistentVolumeSource | None = field(default=None, name="flexVolume")
    flocker: FlockerVolumeSource | None = field(default=None, name="flocker")
    gce_persistent_disk: GCEPersistentDiskVolumeSource | None = field(
        default=None, name="gcePersistentDisk"
    )
    glusterfs: GlusterfsPersistentVolumeSource | None = field(default=None, name="glusterfs")
    host_path: HostPathVolumeSource | None = field(default=None, name="hostPath")
    iscsi: ISCSIPersistentVolumeSource | None = field(default=None, name="iscsi")
    local: LocalVolumeSource | None = field(default=None, name="local")
    mount_options: tuple[str, ...] = field(default=(), name="mountOptions")
    nfs: NFSVolumeSource | None = field(default=None, name="nfs")
    node_affinity: VolumeNodeAffinity | None = field(default=None, name="nodeAffinity")
    persistent_volume_reclaim_policy: str = field(default="", name="persistentVolumeReclaimPolicy")
    photon_persistent_disk: PhotonPersistentDiskVolumeSource | None = field(
        default=None, name="photonPersistentDisk"
    )
    portworx_volume: PortworxVolumeSource | None = field(default=None, name="portworxVolume")
    quobyte: QuobyteVolumeSource | None = field(default=None, name="quobyte")
    rbd: RBDPersistentVolumeSource | None = field(default=None, name="rbd")
    scale_io: ScaleIOPersistentVolumeSource | None = field(default=None, name="scaleIO")
    storage_class_name: str = field(default="", name="storageClassName")
    storageos: StorageOSPersistentVolumeSource | None = field(default=None, name="storageos")
    volume_attributes_class_name: str = field(default="", name="volumeAttributesClassName")
    volume_mode: str = field(default="", name="volumeMode")
    vsphere_volume: VsphereVirtualDiskVolumeSource | None = field(
        default=None, name="vsphereVolume"
    )


class PersistentVolumeStatus(Struct, frozen=True, omit_defaults=True):
    """PersistentVolumeStatus is the current status of a persistent volume."""

    last_phase_transition_time: str = field(default="", name="lastPhaseTransitionTime")
    message: str = field(default="", name="message")
    phase: str = field(default="", name="phase")
    reason: str = field(default="", name="reason")


class PersistentVolume(Struct, frozen=True, omit_defaults=True):
    """PersistentVolume (PV) is a storage resource provisioned by an administrator."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: PersistentVolumeSpec = field(default=PersistentVolumeSpec(), name="spec")
    status: PersistentVolumeStatus = field(default=PersistentVolumeStatus(), name="status")


class PersistentVolumeClaimCondition(Struct, frozen=True, omit_defaults=True):
    """PersistentVolumeClaimCondition contains details about state of pvc."""

    last_probe_time: str = field(default="", name="lastProbeTime")
    last_transition_time: str = field(default="", name="lastTransitionTime")
    message: str = field(default="", name="message")
    reason: str = field(default="", name="reason")
    status: str = field(default="", name="status")
    type: str = field(default="", name="type")


class PersistentVolumeClaimStatus(Struct, frozen=True, omit_defaults=True):
    """PersistentVolumeClaimStatus is the current status of a persistent volume claim."""

    access_modes: tuple[str, ...] = field(default=(), name="accessModes")
    allocated_resource_statuses: Mapping[str, str] = field(
        default_factory=dict, name="allocatedResourceStatuses"
    )
    allocated_resources: Mapping[str, str | int | float] = field(
        default_factory=dict, name="allocatedResources"
    )
    capacity: Mapping[str, str | int | float] = field(default_factory=dict, name="capacity")
    conditions: tuple[PersistentVolumeClaimCondition, ...] = field(default=(), name="conditions")
    current_volume_attributes_class_name: str = field(
        default="", name="currentVolumeAttributesClassName"
    )
    modify_volume_status: ModifyVolumeStatus | None = field(default=None, name="modifyVolumeStatus")
    phase: str = field(default="", name="phase")


class PersistentVolumeClaim(Struct, frozen=True, omit_defaults=True):
    """PersistentVolumeClaim is a user's request for and claim to a persistent volume."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: PersistentVolumeClaimSpec = field(default=PersistentVolumeClaimSpec(), name="spec")
    status: PersistentVolumeClaimStatus = field(
        default=PersistentVolumeClaimStatus(), name="status"
    )
