using System.Reflection;
using ILGPU;
using ILGPU.Backends;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.PTX;
using ILGPU.Runtime.Cuda;

namespace LoraNet.Cuda.Runtime;

/// <summary>Translates C# kernels to PTX text. Needs no GPU; only this part of ILGPU is used on real devices.</summary>
internal sealed class PtxCompiler : IDisposable
{
    private readonly Context _context;
    private readonly PTXBackend _backend;

    /// <summary>Prepares a compiler for sm_75, the oldest card supported: no kernel needs more, and the driver's own compiler
    /// optimises the same text for whatever card is there.</summary>
    public PtxCompiler()
    {
        _context = Context.Create(b => b.Optimize(OptimizationLevel.O2).Inlining(InliningMode.Aggressive));
        _backend = new PTXBackend(_context, new CudaCapabilityContext(CudaArchitecture.SM_75), CudaArchitecture.SM_75, CudaInstructionSet.ISA_70, null!);
    }

    /// <summary>PTX text of a kernel and the name of its entry.</summary>
    public (string Text, string Entry) Compile(MethodInfo method)
    {
        lock (_backend)
        {
            var kernel = (PTXCompiledKernel)_backend.Compile(EntryPointDescription.FromExplicitlyGroupedKernel(method), default);
            // A bodiless function is something ILGPU could not translate: it would fail to load, so say so here.
            if (kernel.PTXAssembly.Contains(".extern .func", StringComparison.Ordinal))
                throw new InvalidOperationException($"Kernel {method.Name} calls a function that has no GPU code.");
            return (kernel.PTXAssembly, kernel.Name);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _backend.Dispose();
        _context.Dispose();
    }
}
