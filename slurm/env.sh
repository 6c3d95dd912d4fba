# shellcheck shell=bash disable=SC2034  # for job.sh
# What differs from site to site: edit it. job.sh sources it on the job's first node; what is exported here reaches every
# rank. docs/clusters.md has the reasons.

# ---- The program, and the modules that it was built with ------------------------------------------------------------
# module purge
# module load gcc/12 openmpi/4.1 hdf5/1.12 cuda/13.0
spt=("${SPT_PROGRAM:-$SPT_HOME/build/spt}")
# spt=(apptainer exec --nv --bind "$SCRATCH" spt.sif spt)

# ---- Who starts the ranks: srun where this Slurm has PMIx, else mpirun inside the allocation ------------------------
if srun --mpi=list 2>&1 | grep -q pmix; then launcher=srun; else launcher=mpirun; fi
launcher=${SPT_LAUNCHER:-$launcher}

# ---- Cores and GPUs -------------------------------------------------------------------------------------------------
# A rank is bound to cores of its own, --cpus-per-task of them, and has a thread for each. It sees all GPUs of its node that
# the job has, and takes the one of its number there.
srun_options=(--cpu-bind=cores)
mpirun_options=(--bind-to core --map-by "slot:PE=${SLURM_CPUS_PER_TASK:-1}")
# A GPU a rank, the others hidden:
# srun_options+=(--gpus-per-task=1)

# ---- Network --------------------------------------------------------------------------------------------------------
# Which one, where a node has several: of Ethernet
# export OMPI_MCA_btl_tcp_if_include=eth0 NCCL_SOCKET_IFNAME=eth0
# and of InfiniBand
# export NCCL_IB_HCA=mlx5 UCX_NET_DEVICES=mlx5_0:1
