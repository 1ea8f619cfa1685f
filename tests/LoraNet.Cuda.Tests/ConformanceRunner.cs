using System.Diagnostics;
using System.Reflection;
using FsCheck;
using LoraNet.Tensors;
using LoraNet.Tests.Conformance;
using Microsoft.FSharp.Core;

namespace LoraNet.Cuda.Tests;

/// <summary>What became of one property of the suite.</summary>
internal sealed record ConformanceResult(string Name, string? Error, double Milliseconds);

/// <summary>Runs the conformance suite on a given backend without a test runner: inside one skippable test, and in a console program
/// on machines that have a GPU but no .NET SDK.</summary>
internal sealed class ConformanceRunner(Backend backend, bool tf32 = false) : BackendConformance
{
    private bool _products;

    protected override Backend Backend => backend;

    /// <summary>Flash attention rounds the probabilities, and in the backward their gradients, to the compute type before the second product.</summary>
    protected override double AttentionTolerance(DType output) => output == DType.F32 ? Tolerance(output) : 2 * Tolerance(output);

    /// <summary>TF32 rounds each factor to 11 significant bits, by up to 2⁻¹¹ of itself, so each term of a sum by up to 2⁻¹⁰: the error of a
    /// result over its natural magnitude is then typically a third of that, and where the output is a single element whose factors happen to be
    /// large, a few times 2⁻¹⁰. 2⁻⁸ still shows any wrong or missing term. Only products round so.</summary>
    protected override double Tolerance(DType output) => tf32 && _products && output == DType.F32 ? 1 / 256.0 : base.Tolerance(output);

    /// <summary>Every property and fact of the suite whose name contains <paramref name="filter"/>.</summary>
    public static IEnumerable<ConformanceResult> Run(Backend backend, int cases, string filter = "", bool tf32 = false)
    {
        ConformanceRunner suite = new(backend, tf32);
        Config config = Config.QuickThrowOnFailure.WithMaxTest(cases).WithQuietOnSuccess(true).WithArbitrary([typeof(Arbitraries)]);
        foreach (MethodInfo method in typeof(ConformanceRunner).GetMethods().Where(m => m.GetCustomAttribute<FactAttribute>() is not null).OrderBy(m => m.Name))
        {
            if (!method.Name.Contains(filter, StringComparison.OrdinalIgnoreCase)) continue;
            suite._products = ((string[])["linear", "matmul", "weight"]).Any(word => method.Name.Contains(word, StringComparison.OrdinalIgnoreCase));
            Stopwatch watch = Stopwatch.StartNew();
            string? error = null;
            try
            {
                if (method.GetParameters().Length == 0) method.Invoke(suite, null);
                else Check.Method(config, method, FSharpOption<object>.Some(suite));
            }
            catch (Exception e)
            {
                error = (e is TargetInvocationException { InnerException: { } inner } ? inner : e).Message;
            }
            yield return new ConformanceResult(method.Name, error, watch.Elapsed.TotalMilliseconds);
        }
    }
}
