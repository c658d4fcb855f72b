"""Kubernetes volume/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from collections.abc import Mapping

from msgspec import Struct, field

from weft.api.k8s.meta_v1 import LabelSelector, ObjectMeta


class AWSElasticBlockStoreVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a Persistent Disk resource in AWS. An AWS EBS disk must exist before ...."""

    fs_type: str = field(default="", name="fsType")
    partition: int | None = field(default=None, name="partition")
    read_only: bool | None = field(default=None, name="readOnly")
    volume_id: str = field(default="", name="volumeID")


class AzureDiskVolumeSource(Struct, frozen=True, omit_defaults=True):
    """AzureDisk represents an Azure Data Disk mount on the host and bind mount to the pod."""

    caching_mode: str = field(default="", name="cachingMode")
    disk_name: str = field(default="", name="diskName")
    disk_uri: str = field(default="", name="diskURI")
    fs_type: str = field(default="", name="fsType")
    kind: str = field(default="", name="kind")
    read_only: bool | None = field(default=None, name="readOnly")


class AzureFileVolumeSource(Struct, frozen=True, omit_defaults=True):
    """AzureFile represents an Azure File Service mount on the host and bind mount to ...."""

    read_only: bool | None = field(default=None, name="readOnly")
    secret_name: str = field(default="", name="secretName")
    share_name: str = field(default="", name="shareName")


class LocalObjectReference(Struct, frozen=True, omit_defaults=True):
    """LocalObjectReference contains enough information to let you locate the referenced ...."""

    name: str = field(default="", name="name")


class CSIVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a source location of a volume to mount, managed by an external CSI driver."""

    driver: str = field(default="", name="driver")
    fs_type: str = field(default="", name="fsType")
    node_publish_secret_ref: LocalObjectReference | None = field(
        default=None, name="nodePublishSecretRef"
    )
    read_only: bool | None = field(default=None, name="readOnly")
    volume_attributes: Mapping[str, str] = field(default_factory=dict, name="volumeAttributes")


class CephFSVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a Ceph Filesystem mount that lasts the lifetime of a pod Cephfs ...."""

    monitors: tuple[str, ...] = field(default=(), name="monitors")
    path: str = field(default="", name="path")
    read_only: bool | None = field(default=None, name="readOnly")
    secret_file: str = field(default="", name="secretFile")
    secret_ref: LocalObjectReference | None = field(default=None, name="secretRef")
    user: str = field(default="", name="user")


class CinderVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a cinder volume resource in Openstack."""

    fs_type: str = field(default="", name="fsType")
    read_only: bool | None = field(default=None, name="readOnly")
    secret_ref: LocalObjectReference | None = field(default=None, name="secretRef")
    volume_id: str = field(default="", name="volumeID")


class ClusterTrustBundleProjection(Struct, frozen=True, omit_defaults=True):
    """ClusterTrustBundleProjection describes how to select a set of ClusterTrustBundle ...."""

    label_selector: LabelSelector | None = field(default=None, name="labelSelector")
    name: str = field(default="", name="name")
    optional: bool | None = field(default=None, name="optional")
    path: str = field(default="", name="path")
    signer_name: str = field(default="", name="signerName")


class KeyToPath(Struct, frozen=True, omit_defaults=True):
    """Maps a string key to a path within a volume."""

    key: str = field(default="", name="key")
    mode: int | None = field(default=None, name="mode")
    path: str = field(default="", name="path")


class ConfigMapProjection(Struct, frozen=True, omit_defaults=True):
    """Adapts a ConfigMap into a projected volume."""

    items: tuple[KeyToPath, ...] = field(default=(), name="items")
    name: str = field(default="", name="name")
    optional: bool | None = field(default=None, name="optional")


class ConfigMapVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Adapts a ConfigMap into a volume."""

    default_mode: int | None = field(default=None, name="defaultMode")
    items: tuple[KeyToPath, ...] = field(default=(), name="items")
    name: str = field(default="", name="name")
    optional: bool | None = field(default=None, name="optional")


class ObjectFieldSelector(Struct, frozen=True, omit_defaults=True):
    """ObjectFieldSelector selects an APIVersioned field of an object."""

    api_version: str = field(default="", name="apiVersion")
    field_path: str = field(default="", name="fieldPath")


class ResourceFieldSelector(Struct, frozen=True, omit_defaults=True):
    """ResourceFieldSelector represents container resources (cpu, memory) and their ...."""

    container_name: str = field(default="", name="containerName")
    divisor: str | int | float | None = field(default=None, name="divisor")
    resource: str = field(default="", name="resource")


class DownwardAPIVolumeFile(Struct, frozen=True, omit_defaults=True):
    """DownwardAPIVolumeFile represents information to create the file containing the ...."""

    field_ref: ObjectFieldSelector | None = field(default=None, name="fieldRef")
    mode: int | None = field(default=None, name="mode")
    path: str = field(default="", name="path")
    resource_field_ref: ResourceFieldSelector | None = field(default=None, name="resourceFieldRef")


class DownwardAPIProjection(Struct, frozen=True, omit_defaults=True):
    """Represents downward API info for projecting into a projected volume."""

    items: tuple[DownwardAPIVolumeFile, ...] = field(default=(), name="items")


class DownwardAPIVolumeSource(Struct, frozen=True, omit_defaults=True):
    """DownwardAPIVolumeSource represents a volume containing downward API info."""

    default_mode: int | None = field(default=None, name="defaultMode")
    items: tuple[DownwardAPIVolumeFile, ...] = field(default=(), name="items")


class EmptyDirVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents an empty directory for a pod."""

    medium: str = field(default="", name="medium")
    size_limit: str | int | float | None = field(default=None, name="sizeLimit")


class TypedLocalObjectReference(Struct, frozen=True, omit_defaults=True):
    """TypedLocalObjectReference contains enough information to let you locate the typed ...."""

    api_group: str = field(default="", name="apiGroup")
    kind: str = field(default="", name="kind")
    name: str = field(default="", name="name")


class TypedObjectReference(Struct, frozen=True, omit_defaults=True):
    """TypedObjectReference contains enough information to let you locate the typed ...."""

    api_group: str = field(default="", name="apiGroup")
    kind: str = field(default="", name="kind")
    name: str = field(default="", name="name")
    namespace: str = field(default="", name="namespace")


class VolumeResourceRequirements(Struct, frozen=True, omit_defaults=True):
    """VolumeResourceRequirements describes the storage resource requirements for a volume."""

    limits: Mapping[str, str | int | float] = field(default_factory=dict, name="limits")
    requests: Mapping[str, str | int | float] = field(default_factory=dict, name="requests")


class PersistentVolumeClaimSpec(Struct, frozen=True, omit_defaults=True):
    """PersistentVolumeClaimSpec describes the common attributes of storage devices and ...."""

    access_modes: tuple[str, ...] = field(default=(), name="accessModes")
    data_source: TypedLocalObjectReference | None = field(default=None, name="dataSource")
    data_source_ref: TypedObjectReference | None = field(default=None, name="dataSourceRef")
    resources: VolumeResourceRequirements | None = field(default=None, name="resources")
    selector: LabelSelector | None = field(default=None, name="selector")
    storage_class_name: str = field(default="", name="storageClassName")
    volume_attributes_class_name: str = field(default="", name="volumeAttributesClassName")
    volume_mode: str = field(default="", name="volumeMode")
    volume_name: str = field(default="", name="volumeName")


class PersistentVolumeClaimTemplate(Struct, frozen=True, omit_defaults=True):
    """PersistentVolumeClaimTemplate is used to produce PersistentVolumeClaim objects as ...."""

    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: PersistentVolumeClaimSpec = field(default=PersistentVolumeClaimSpec(), name="spec")


class EphemeralVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents an ephemeral volume that is handled by a normal storage driver."""

    volume_claim_template: PersistentVolumeClaimTemplate | None = field(
        default=None, name="volumeClaimTemplate"
    )


class FCVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a Fibre Channel volume."""

    fs_type: str = field(default="", name="fsType")
    lun: int | None = field(default=None, name="lun")
    read_only: bool | None = field(default=None, name="readOnly")
    target_wwns: tuple[str, ...] = field(default=(), name="targetWWNs")
    wwids: tuple[str, ...] = field(default=(), name="wwids")


class FlexVolumeSource(Struct, frozen=True, omit_defaults=True):
    """FlexVolume represents a generic volume resource that is provisioned/attached ...."""

    driver: str = field(default="", name="driver")
    fs_type: str = field(default="", name="fsType")
    options: Mapping[str, str] = field(default_factory=dict, name="options")
    read_only: bool | None = field(default=None, name="readOnly")
    secret_ref: LocalObjectReference | None = field(default=None, name="secretRef")


class FlockerVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a Flocker volume mounted by the Flocker agent."""

    dataset_name: str = field(default="", name="datasetName")
    dataset_uuid: str = field(default="", name="datasetUUID")


class GCEPersistentDiskVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a Persistent Disk resource in Google Compute Engine."""

    fs_type: str = field(default="", name="fsType")
    partition: int | None = field(default=None, name="partition")
    pd_name: str = field(default="", name="pdName")
    read_only: bool | None = field(default=None, name="readOnly")


class GitRepoVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a volume that is populated with the contents of a git repository."""

    directory: str = field(default="", name="directory")
    repository: str = field(default="", name="repository")
    revision: str = field(default="", name="revision")


class GlusterfsVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a Glusterfs mount that lasts the lifetime of a pod."""

    endpoints: str = field(default="", name="endpoints")
    path: str = field(default="", name="path")
    read_only: bool | None = field(default=None, name="readOnly")


class HostPathVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a host path mapped into a pod."""

    path: str = field(default="", name="path")
    type: str = field(default="", name="type")


class ISCSIVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents an ISCSI disk."""

    chap_auth_discovery: bool | None = field(default=None, name="chapAuthDiscovery")
    chap_auth_session: bool | None = field(default=None, name="chapAuthSession")
    fs_type: str = field(default="", name="fsType")
    initiator_name: str = field(default="", name="initiatorName")
    iqn: str = field(default="", name="iqn")
    iscsi_interface: str = field(default="", name="iscsiInterface")
    lun: int | None = field(default=None, name="lun")
    portals: tuple[str, ...] = field(default=(), name="portals")
    read_only: bool | None = field(default=None, name="readOnly")
    secret_ref: LocalObjectReference | None = field(default=None, name="secretRef")
    target_portal: str = field(default="", name="targetPortal")


class ImageVolumeSource(Struct, frozen=True, omit_defaults=True):
    """ImageVolumeSource represents a image volume resource."""

    pull_policy: str = field(default="", name="pullPolicy")
    reference: str = field(default="", name="reference")


class NFSVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents an NFS mount that lasts the lifetime of a pod."""

    path: str = field(default="", name="path")
    read_only: bool | None = field(default=None, name="readOnly")
    server: str = field(default="", name="server")


class PersistentVolumeClaimVolumeSource(Struct, frozen=True, omit_defaults=True):
    """PersistentVolumeClaimVolumeSource references the user's PVC in the same namespace."""

    claim_name: str = field(default="", name="claimName")
    read_only: bool | None = field(default=None, name="readOnly")


class PhotonPersistentDiskVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a Photon Controller persistent disk resource."""

    fs_type: str = field(default="", name="fsType")
    pd_id: str = field(default="", name="pdID")


class PortworxVolumeSource(Struct, frozen=True, omit_defaults=True):
    """PortworxVolumeSource represents a Portworx volume resource."""

    fs_type: str = field(default="", name="fsType")
    read_only: bool | None = field(default=None, name="readOnly")
    volume_id: str = field(default="", name="volumeID")


class SecretProjection(Struct, frozen=True, omit_defaults=True):
    """Adapts a secret into a projected volume."""

    items: tuple[KeyToPath, ...] = field(default=(), name="items")
    name: str = field(default="", name="name")
    optional: bool | None = field(default=None, name="optional")


class ServiceAccountTokenProjection(Struct, frozen=True, omit_defaults=True):
    """ServiceAccountTokenProjection represents a projected service account token volume."""

    audience: str = field(default="", name="audience")
    expiration_seconds: int | None = field(default=None, name="expirationSeconds")
    path: str = field(default="", name="path")


class VolumeProjection(Struct, frozen=True, omit_defaults=True):
    """Projection that may be projected along with other supported volume types."""

    cluster_trust_bundle: ClusterTrustBundleProjection | None = field(
        default=None, name="clusterTrustBundle"
    )
    config_map: ConfigMapProjection | None = field(default=None, name="configMap")
    downward_api: DownwardAPIProjection | None = field(default=None, name="downwardAPI")
    secret: SecretProjection | None = field(default=None, name="secret")
    service_account_token: ServiceAccountTokenProjection | None = field(
        default=None, name="serviceAccountToken"
    )


class ProjectedVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a projected volume source."""

    default_mode: int | None = field(default=None, name="defaultMode")
    sources: tuple[VolumeProjection, ...] = field(default=(), name="sources")


class QuobyteVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a Quobyte mount that lasts the lifetime of a pod."""

    group: str = field(default="", name="group")
    read_only: bool | None = field(default=None, name="readOnly")
    registry: str = field(default="", name="registry")
    tenant: str = field(default="", name="tenant")
    user: str = field(default="", name="user")
    volume: str = field(default="", name="volume")


class RBDVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a Rados Block Device mount that lasts the lifetime of a pod."""

    fs_type: str = field(default="", name="fsType")
    image: str = field(default="", name="image")
    keyring: str = field(default="", name="keyring")
    monitors: tuple[str, ...] = field(default=(), name="monitors")
    pool: str = field(default="", name="pool")
    read_only: bool | None = field(default=None, name="readOnly")
    secret_ref: LocalObjectReference | None = field(default=None, name="secretRef")
    user: str = field(default="", name="user")


class ScaleIOVolumeSource(Struct, frozen=True, omit_defaults=True):
    """ScaleIOVolumeSource represents a persistent ScaleIO volume."""

    fs_type: str = field(default="", name="fsType")
    gateway: str = field(default="", name="gateway")
    protection_domain: str = field(default="", name="protectionDomain")
    read_only: bool | None = field(default=None, name="readOnly")
    secret_ref: LocalObjectReference | None = field(default=None, name="secretRef")
    ssl_enabled: bool | None = field(default=None, name="sslEnabled")
    storage_mode: str = field(default="", name="storageMode")
    storage_pool: str = field(default="", name="storagePool")
    system: str = field(default="", name="system")
    volume_name: str = field(default="", name="volumeName")


class SecretVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Adapts a Secret into a volume."""

    default_mode: int | None = field(default=None, name="defaultMode")
    items: tuple[KeyToPath, ...] = field(default=(), name="items")
    optional: bool | None = field(default=None, name="optional")
    secret_name: str = field(default="", name="secretName")


class StorageOSVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a StorageOS persistent volume resource."""

    fs_type: str = field(default="", name="fsType")
    read_only: bool | None = field(default=None, name="readOnly")
    secret_ref: LocalObjectReference | None = field(default=None, name="secretRef")
    volume_name: str = field(default="", name="volumeName")
    volume_namespace: str = field(default="", name="volumeNamespace")


class VsphereVirtualDiskVolumeSource(Struct, frozen=True, omit_defaults=True):
    """Represents a vSphere volume resource."""

    fs_type: str = field(default="", name="fsType")
    storage_policy_id: str = field(default="", name="storagePolicyID")
    storage_policy_name: str = field(default="", name="storagePolicyName")
    volume_path: str = field(default="", name="volumePath")


class Volume(Struct, frozen=True, omit_defaults=True):
    """Volume represents a named volume in a pod that may be accessed by any container ...."""

    aws_elastic_block_store: AWSElasticBlockStoreVolumeSource | None = field(
        default=None, name="awsElasticBlockStore"
    )
    azure_disk: AzureDiskVolumeSource | None = field(default=None, name="azureDisk")
    azure_file: AzureFileVolumeSource | None = field(default=None, name="azureFile")
    cephfs: CephFSVolumeSource | None = field(default=None, name="cephfs")
    cinder: CinderVolumeSource | None = field(default=None, name="cinder")
    config_map: ConfigMapVolumeSource | None = field(default=None, name="configMap")
    csi: CSIVolumeSource | None = field(default=None, name="csi")
    downward_api: DownwardAPIVolumeSource | None = field(default=None, name="downwardAPI")
    empty_dir: EmptyDirVolumeSource | None = field(default=None, name="emptyDir")
    ephemeral: EphemeralVolumeSource | None = field(default=None, name="ephemeral")
    fc: FCVolumeSource | None = field(default=None, name="fc")
    flex_volume: FlexVolumeSource | None = field(default=None, name="flexVolume")
    flocker: FlockerVolumeSource | None = field(default=None, name="flocker")
    gce_persistent_disk: GCEPersistentDiskVolumeSource | None = field(
        default=None, name="gcePersistentDisk"
    )
    git_repo: GitRepoVolumeSource | None = field(default=None, name="gitRepo")
    glusterfs: GlusterfsVolumeSource | None = field(default=None, name="glusterfs")
    host_path: HostPathVolumeSource | None = field(default=None, name="hostPath")
    image: ImageVolumeSource | None = field(default=None, name="image")
    iscsi: ISCSIVolumeSource | None = field(default=None, name="iscsi")
    name: str = field(default="", name="name")
    nfs: NFSVolumeSource | None = field(default=None, name="nfs")
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = field(
        default=None, name="persistentVolumeClaim"
    )
    photon_persistent_disk: PhotonPersistentDiskVolumeSource | None = field(
        default=None, name="photonPersistentDisk"
    )
    portworx_volume: PortworxVolumeSource | None = field(default=None, name="portworxVolume")
    projected: ProjectedVolumeSource | None = field(default=None, name="projected")
    quobyte: QuobyteVolumeSource | None = field(default=None, name="quobyte")
    rbd: RBDVolumeSource | None = field(default=None, name="rbd")
    scale_io: ScaleIOVolumeSource | None = field(default=None, name="scaleIO")
    secret: SecretVolumeSource | None = field(default=None, name="secret")
    storageos: StorageOSVolumeSource | None = field(default=None, name="storageos")
    vsphere_volume: VsphereVirtualDiskVolumeSource | None = field(
        default=None, name="vsphereVolume"
    )
