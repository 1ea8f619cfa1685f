namespace LoraNet.Cuda.Kernels;

/// <summary>Arguments of <see cref="ActivationKernels"/>; unused addresses are 0.</summary>
internal struct ActivationArgs
{
    public long Dy, X, Up, Y, DUp, Count;
    public int Accumulate;
}

/// <summary>y = f(x), y = f(gate)·up and their gradients.</summary>
internal static class ActivationKernels
{
    public static void Forward<TF, TX, TY>(ActivationArgs a)
        where TF : struct, IActivation
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        for (long i = Flat.First; i < a.Count; i += Flat.Step)
        {
            Pack x = Flat.Load<TX>(a.X, i, a.Count);
            Flat.Store<TY>(a.Y, i, a.Count, new Pack(TF.Value<TX>(x.X), TF.Value<TX>(x.Y), TF.Value<TX>(x.Z), TF.Value<TX>(x.W)));
        }
    }

    public static void Backward<TF, TDy, TX, TDx>(ActivationArgs a)
        where TF : struct, IActivation
        where TDy : struct, IStorage
        where TX : struct, IStorage
        where TDx : struct, IStorage
    {
        for (long i = Flat.First; i < a.Count; i += Flat.Step)
        {
            Pack dy = Flat.Load<TDy>(a.Dy, i, a.Count), x = Flat.Load<TX>(a.X, i, a.Count);
            Pack dx = new(dy.X * TF.At<TX>(x.X).Slope, dy.Y * TF.At<TX>(x.Y).Slope, dy.Z * TF.At<TX>(x.Z).Slope, dy.W * TF.At<TX>(x.W).Slope);
            if (a.Accumulate != 0)
            {
                Pack old = Flat.Load<TDx>(a.Y, i, a.Count);
                dx = new Pack(dx.X + old.X, dx.Y + old.Y, dx.Z + old.Z, dx.W + old.W);
            }
            Flat.Store<TDx>(a.Y, i, a.Count, dx);
        }
    }

    public static void Gated<TF, TGate, TUp, TY>(ActivationArgs a)
        where TF : struct, IActivation
        where TGate : struct, IStorage
        where TUp : struct, IStorage
        where TY : struct, IStorage
    {
        bool octets = Flat.AllowsOctets(a.X | a.Up | a.Y);
        for (long i = Flat.FirstOctet; i < a.Count; i += Flat.OctetStep)
        {
            if (octets && i + 8 <= a.Count)
            {
                Octet g = TGate.LoadOctet(a.X, i), u = TUp.LoadOctet(a.Up, i);
                u.Low = Gate<TF, TGate>(g.Low, u.Low);
                u.High = Gate<TF, TGate>(g.High, u.High);
                TY.StoreOctet(a.Y, i, u);
            }
            else
            {
                for (long j = i; j < Flat.OctetEnd(i, a.Count); j++) TY.Store(a.Y, j, TF.Value<TGate>(TGate.Load(a.X, j)) * TUp.Load(a.Up, j));
            }
        }
    }

    private static Pack Gate<TF, TGate>(Pack g, Pack u)
        where TF : struct, IActivation
        where TGate : struct, IStorage =>
        new(TF.Value<TGate>(g.X) * u.X, TF.Value<TGate>(g.Y) * u.Y, TF.Value<TGate>(g.Z) * u.Z, TF.Value<TGate>(g.W) * u.W);

    public static void GatedBackward<TF, TDy, TIn, TOut>(ActivationArgs a)
        where TF : struct, IActivation
        where TDy : struct, IStorage
        where TIn : struct, IStorage
        where TOut : struct, IStorage
    {
        bool octets = Flat.AllowsOctets(a.Dy | a.X | a.Up | a.Y | a.DUp);
        for (long i = Flat.FirstOctet; i < a.Count; i += Flat.OctetStep)
        {
            if (octets && i + 8 <= a.Count)
            {
                Octet dy = TDy.LoadOctet(a.Dy, i), g = TIn.LoadOctet(a.X, i), u = TIn.LoadOctet(a.Up, i);
                GateGradients low = Gradients<TF, TIn>(dy.Low, g.Low, u.Low), high = Gradients<TF, TIn>(dy.High, g.High, u.High);
                g.Low = low.Gate;
                g.High = high.Gate;
                TOut.StoreOctet(a.Y, i, g);
                u.Low = low.Up;
                u.High = high.Up;
                TOut.StoreOctet(a.DUp, i, u);
            }
            else
            {
                for (long j = i; j < Flat.OctetEnd(i, a.Count); j++)
                {
                    float dy = TDy.Load(a.Dy, j), u = TIn.Load(a.Up, j);
                    ValueAndSlope f = TF.At<TIn>(TIn.Load(a.X, j));
                    TOut.Store(a.Y, j, dy * u * f.Slope);
                    TOut.Store(a.DUp, j, dy * f.Value);
                }
            }
        }
    }

    private struct GateGradients
    {
        public Pack Gate, Up;
    }

    private static GateGradients Gradients<TF, TIn>(Pack dy, Pack g, Pack u)
        where TF : struct, IActivation
        where TIn : struct, IStorage
    {
        ValueAndSlope x = TF.At<TIn>(g.X), y = TF.At<TIn>(g.Y), z = TF.At<TIn>(g.Z), w = TF.At<TIn>(g.W);
        GateGradients d = default;
        d.Gate = new Pack(dy.X * u.X * x.Slope, dy.Y * u.Y * y.Slope, dy.Z * u.Z * z.Slope, dy.W * u.W * w.Slope);
        d.Up = new Pack(dy.X * x.Value, dy.Y * y.Value, dy.Z * z.Value, dy.W * w.Value);
        return d;
    }
}
